/** Video generation as a React hook; React 18 and 19. */
import type {
  IfFinished,
  JobStatus,
  Order,
  VideoClient,
  VideoClientError,
  VideoClientOptions,
} from './video-client.js';

export type GenerationStatus =
  'idle' | 'submitting' | 'pending' | 'processing' | 'completed' | 'failed' | 'cancelled';

export interface GenerationState {
  jobId: string | null;
  status: GenerationStatus;
  /** Percent, 0 to 100. */
  progress: number;
  etaSeconds: number | null;
  /**
   * Why it ended. With a status that is no end (`pending`, `processing`), the job goes on and only
   * watching it ended (signed out): `resume()` takes it up again.
   */
  error: VideoClientError | null;
  /** The completed job. */
  result: JobStatus | null;
  isGenerating: boolean;
}

export interface GenerationCallbacks {
  onProgress?: ((status: JobStatus) => unknown) | undefined;
  /** Once. `generate` resolves when its promise does. */
  onComplete?: ((result: JobStatus) => unknown) | undefined;
  /** Once. */
  onError?: ((error: VideoClientError) => unknown) | undefined;
}

export type Generate = (order: Order, callbacks?: GenerationCallbacks) => Promise<JobStatus>;
export type Resume = (
  jobId?: string | null,
  callbacks?: GenerationCallbacks,
) => Promise<JobStatus | null>;
export type Cancel = (options?: {
  ifFinished?: IfFinished | undefined;
}) => Promise<JobStatus | null>;

export interface VideoGeneration extends GenerationState {
  /**
   * Makes a video. The same order while it runs is the same generation, with the newest callbacks;
   * another one is shown instead, and the first goes on in the background.
   */
  generate: Generate;
  /** Asks the provider to stop; null where nothing runs. Its answer comes like any other end. */
  cancel: Cancel;
  /** Goes on with a job: this one, or else what ran before a refresh. Null if nothing did. */
  resume: Resume;
  /** Back to `idle`; what runs goes on in the background. */
  reset: () => void;
}

export interface VideoGenerationOptions extends VideoClientOptions {
  /** Used instead of one that is made from the other options. */
  client?: VideoClient | undefined;
  /** Where the running job is remembered: sessionStorage by default, null for nowhere. */
  storage?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> | null | undefined;
}

export declare function useAsyncVideoGeneration(options?: VideoGenerationOptions): VideoGeneration;
