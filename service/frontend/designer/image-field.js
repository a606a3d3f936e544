/** The start image: picked, dropped or pasted, checked at once and shown. */

import { byId, setText } from './dom.js';
import { imageProblem } from './image-check.js';

/** @param {{onChange: () => void, blocked: () => boolean, limits: () => any}} parts */
export function createImageField({ onChange, blocked, limits }) {
  const input = byId('start-image');
  const zone = byId('drop-zone');
  const picture = byId('image-preview');
  const button = byId('image-button');
  let file = null;
  let latest = 0;

  async function take(candidate) {
    const turn = ++latest;
    const problem = await imageProblem(candidate, limits());
    if (turn !== latest) return; // another file was chosen meanwhile
    file = problem ? null : candidate;
    draw();
    tell(problem ?? '');
    onChange();
  }

  function draw() {
    if (picture.src) URL.revokeObjectURL(picture.src);
    picture.hidden = !file;
    zone.classList.toggle('filled', Boolean(file));
    if (file) picture.src = URL.createObjectURL(file);
    else picture.removeAttribute('src');
    setText(button, file ? 'Choose another' : 'Choose an image');
  }

  function tell(problem) {
    const error = byId('image-error');
    error.hidden = !problem;
    setText(error, problem);
    input.setAttribute('aria-invalid', String(Boolean(problem)));
  }

  /** The input is told as well, so that it names the file to a screen reader. */
  function takeFrom(transfer) {
    const [first] = transfer.files;
    const chosen = new DataTransfer();
    chosen.items.add(first);
    input.files = chosen.files;
    void take(first);
  }

  input.addEventListener('change', () => {
    if (input.files[0]) void take(input.files[0]);
  });
  document.addEventListener('dragover', (event) => {
    if (!hasFiles(event.dataTransfer)) return;
    event.preventDefault(); // a file that misses the zone must not replace the page
    zone.classList.toggle('over', !blocked());
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) zone.classList.remove('over');
  });
  document.addEventListener('drop', (event) => {
    if (!hasFiles(event.dataTransfer)) return;
    event.preventDefault();
    zone.classList.remove('over');
    if (!blocked() && event.dataTransfer.files.length) takeFrom(event.dataTransfer);
  });
  document.addEventListener('paste', (event) => {
    if (!event.clipboardData?.files.length || blocked()) return;
    event.preventDefault();
    takeFrom(event.clipboardData);
  });

  return { input, file: () => file, tell };
}

function hasFiles(transfer) {
  return Boolean(transfer?.types.includes('Files'));
}
