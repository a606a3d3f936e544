/**
 * Video generation as a React hook; React 18 and 19. See README.md.
 */
import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { Generation } from './client/generation.js';
import { Memory } from './client/memory.js';
import { createVideoClient } from './video-client.js';

/** @type {typeof import('./use-async-video-generation.js').useAsyncVideoGeneration} */
export function useAsyncVideoGeneration({ client, storage, token, ...options } = {}) {
  // The newest token counts, also for a watch that began under an older one.
  const [latest] = useState(() => ({ token }));
  const [generation] = useState(() => {
    const ask = () => (typeof latest.token === 'function' ? latest.token() : latest.token);
    return new Generation(
      client ?? createVideoClient({ ...options, token: ask }),
      new Memory(storage),
    );
  });
  useEffect(() => {
    latest.token = token;
    if (client) generation.client = client;
  });
  useEffect(generation.mount, [generation]);
  const { subscribe, getState, generate, cancel, resume, reset } = generation;
  const state = useSyncExternalStore(subscribe, getState, getState);
  return useMemo(
    () => ({ ...state, generate, cancel, resume, reset }),
    [state, generate, cancel, resume, reset],
  );
}
