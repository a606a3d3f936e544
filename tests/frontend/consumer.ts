/** What a user of the package writes: it has to compile, and its mistakes must not. */
import {
  createVideoClient,
  VideoClientError,
  type JobStatus,
} from '../../service/frontend/video-client.js';
import { useAsyncVideoGeneration } from '../../service/frontend/use-async-video-generation.js';

const client = createVideoClient({ baseUrl: 'https://videos.example', token: async () => 'token' });

export async function animate(startImage: File): Promise<string | null> {
  const order = { templateSlug: 'night-life-roller', startImage, variables: { BRAND: 'ACME' } };
  const { jobId } = await client.submit(order, { idempotencyKey: 'one' });
  const stop = new AbortController();
  const result: JobStatus = await client.watch(jobId, {
    onProgress: ({ progress, etaSeconds }) => console.info(progress, etaSeconds ?? '?'),
    onComplete: async ({ key }) => key,
    onError: (error) => error.code satisfies string,
    signal: stop.signal,
  });
  await client.cancel(jobId, { ifFinished: 'discard' });
  const { items, nextCursor } = await client.library({ limit: 5 });
  await client.library({ cursor: nextCursor });
  return items[0]?.thumbnailUrl ?? result.url;
}

export function explain(error: unknown): string {
  if (!(error instanceof VideoClientError)) throw error;
  return error.errors.map(({ field, message }) => `${field} ${message}`).join() || error.message;
}

export function Button({ image }: { image: Blob }): string {
  const { generate, cancel, resume, reset, status, error, isGenerating, result } =
    useAsyncVideoGeneration({ client, storage: null });
  const order = { templateSlug: 'night-life-roller', startImage: image, variables: {} };
  void generate(order, { onComplete: async ({ url }) => url }).then(({ jobId }) => jobId);
  void resume().then((job) => job?.key);
  void cancel({ ifFinished: 'keep' }).then((job) => job?.ifFinished);
  reset();
  return isGenerating ? status : (error?.message ?? result?.url ?? 'idle');
}

// @ts-expect-error an order has a start image
void client.submit({ templateSlug: 'night-life-roller', variables: {} });
// @ts-expect-error a video is kept or discarded
void client.cancel('job', { ifFinished: 'perhaps' });
// @ts-expect-error a job may have no address yet
((job: JobStatus): string => job.url)(await client.status('job'));
// @ts-expect-error the hook has no such status
((status: 'done') => status)(useAsyncVideoGeneration().status);
