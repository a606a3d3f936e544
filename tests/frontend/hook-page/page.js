/**
 * The hook in a page, in StrictMode: buttons for what it does, and outputs for what it says.
 * `told` keeps what the callbacks and promises were told, over all renders of this document.
 */
import { StrictMode, createElement, useEffect, useState, version } from 'react';
import { createRoot } from 'react-dom/client';
import { useAsyncVideoGeneration } from '../../../service/frontend/use-async-video-generation.js';

const told = { complete: [], resolved: [], errors: [], statuses: [] };
Object.assign(globalThis, { told, reactVersion: version });

const startImage = await picture();

function picture() {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 64;
  canvas.getContext('2d').fillRect(0, 0, 32, 64);
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
}

function orderOf(variable) {
  const BRAND = new URLSearchParams(location.search).get(variable);
  return { templateSlug: 'night-life-roller', startImage, variables: { BRAND } };
}

const callbacks = {
  onComplete: async ({ jobId }) => {
    await Promise.resolve();
    told.complete.push(jobId);
  },
  onError: ({ code }) => told.errors.push(code),
};

/** Its promise ends after onComplete's, or it notes that. */
function note(promise) {
  promise.then(
    (result) => told.resolved.push(result && [result.jobId, told.complete.includes(result.jobId)]),
    ({ name }) => told.resolved.push(name),
  );
}

function Generator() {
  const video = useAsyncVideoGeneration();
  useEffect(() => {
    if (told.statuses.at(-1) !== video.status) told.statuses.push(video.status);
  }, [video.status]);
  const buttons = {
    generate: () => note(video.generate(orderOf('brand'), callbacks)),
    other: () => note(video.generate(orderOf('other'), callbacks)),
    resume: () => note(video.resume(undefined, callbacks)),
    cancel: () => video.cancel({ ifFinished: 'discard' }),
    reset: video.reset,
  };
  return createElement(
    'section',
    null,
    ...Object.entries(buttons).map(([id, onClick]) =>
      createElement('button', { key: id, id, onClick }, id),
    ),
    createElement('output', { id: 'status' }, video.status),
    createElement('output', { id: 'job' }, video.jobId),
    createElement('output', { id: 'busy' }, String(video.isGenerating)),
    createElement('output', { id: 'key' }, video.result?.key),
  );
}

function Page() {
  const [there, setThere] = useState(true);
  return createElement(
    'main',
    null,
    createElement('button', { id: 'toggle', onClick: () => setThere(!there) }, 'toggle'),
    there && createElement(Generator),
  );
}

const root = createRoot(document.getElementById('root'));
root.render(createElement(StrictMode, null, createElement(Page)));
