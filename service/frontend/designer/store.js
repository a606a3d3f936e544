/** The page's one state. Regions render from it; actions change it. */

export function createStore(initial) {
  let state = Object.freeze({ ...initial });
  let drawing = false;
  const renderers = new Set();

  function draw() {
    drawing = false;
    for (const render of renderers) render(state);
  }

  return {
    get: () => state,

    /** Several changes in a row are drawn together, once. */
    set(changes) {
      state = Object.freeze({ ...state, ...changes });
      if (!drawing) {
        drawing = true;
        queueMicrotask(draw);
      }
    },

    /** Once everything set so far is on the page. */
    drawn: () => Promise.resolve(),

    subscribe(render) {
      renderers.add(render);
      render(state);
    },
  };
}

export const EMPTY = {
  email: null,
  signedOut: false,
  offline: false,
  templates: null,
  imageLimits: null,
  credits: null,
  jobs: new Map(), // by id; a job is replaced, never changed
  libraryRead: false,
  nextCursor: null,
  submitting: false,
  opened: null, // the job of the progress dialog
  shown: null, // the job on the stage
  tooLate: new Set(), // jobs that refused to be cancelled
};
