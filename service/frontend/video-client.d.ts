/** The browser's side of video generation: submit an order, follow its job, keep the library. */

export type JobState = 'pending' | 'processing' | 'completed' | 'failed';
/** What is to become of a video that finishes although its owner asked to cancel it. */
export type IfFinished = 'keep' | 'discard';

export interface JobError {
  code: string;
  /** For people. */
  message: string;
}

export interface JobStatus {
  jobId: string;
  status: JobState;
  /** Percent, 0 to 100. */
  progress: number;
  /** By what this provider usually takes; null where nobody can tell. */
  etaSeconds: number | null;
  /** Where the video is, once it is completed. */
  url: string | null;
  /** Its name in the bucket, once it is completed. */
  key: string | null;
  /** What it cost, once it is completed. */
  credits: number | null;
  error: JobError | null;
  /** Goes up with each change. */
  version: number;
  createdAt: string;
  updatedAt: string;
  /** The provider's own copy, playable while ours is being made. */
  previewUrl?: string | null;
  /** May appear after completion, with a new version. */
  thumbnailUrl?: string | null;
  /** Set once its owner has asked to cancel it. */
  ifFinished?: IfFinished | null;
}

export interface LibraryItem extends JobStatus {
  templateSlug: string;
  provider: string;
  durationSeconds: number;
  price: number;
}

export interface LibraryPage {
  items: LibraryItem[];
  nextCursor: string | null;
}

export interface ProviderChoice {
  name: string;
  title: string;
  creditsPerSecond: number;
  durations: number[];
  /** The price for each duration. */
  credits: Record<string, number>;
  expectedRenderSeconds: number;
}

/** What a start image may be at most. */
export interface ImageLimits {
  maxBytes: number;
  maxPixels: number;
}

export interface Template {
  slug: string;
  title: string;
  variables: string[];
  provider: string;
  duration: number;
  providers: ProviderChoice[];
}

export interface LedgerEntry {
  id: string;
  kind: string;
  credits: number;
  jobId: string | null;
  at: string;
}

export interface Credits {
  available: number;
  reserved: number;
  entries: LedgerEntry[];
}

export interface Session {
  email: string;
  expiresAt: string | null;
}

export interface Order {
  templateSlug: string;
  startImage: Blob;
  variables: Record<string, string>;
  provider?: string | undefined;
  duration?: number | undefined;
}

export interface Receipt {
  jobId: string;
  status: JobState;
  credits: number;
}

export interface SubmitOptions {
  /** One is made where none is given. */
  idempotencyKey?: string | undefined;
  /** Stops waiting. An order that was already sent may have become a job. */
  signal?: AbortSignal | undefined;
}

export interface WatchHandlers {
  /** Each new version and each change of progress, the last one included. */
  onProgress?: ((status: JobStatus) => unknown) | undefined;
  /** Once, for a completed job. The watch ends when its promise does. */
  onComplete?: ((result: JobStatus) => unknown) | undefined;
  /** Once: the job failed, or it cannot be watched (signed out, not there). */
  onError?: ((error: VideoClientError) => unknown) | undefined;
  /** Ends the watch and calls nothing; the job goes on. */
  signal?: AbortSignal | undefined;
}

export interface FieldProblem {
  field: string;
  message: string;
}

export interface VideoClientErrorFacts {
  status?: number;
  errors?: FieldProblem[];
  retryAfterMs?: number | null;
  job?: JobStatus | null;
  fromService?: boolean;
  cause?: unknown;
}

export declare class VideoClientError extends Error {
  constructor(code: string, message: string, facts?: VideoClientErrorFacts);
  /**
   * Stable. The service's own (`sign_in_required`, `insufficient_credits`, `not_found`, …), a
   * failed job's (`cancelled`, …), or this client's: `network`, `timeout`, `unexpected_answer`.
   */
  readonly code: string;
  /** The HTTP status, 0 where there was no answer. */
  readonly status: number;
  /** The fields that the service found wrong, each with its fix. */
  readonly errors: FieldProblem[];
  /** How long the service asks to wait. */
  readonly retryAfterMs: number | null;
  /** The failed job, where this is a job's end. */
  readonly job: JobStatus | null;
  /** Whether the service itself said this, and not something on the way to it. */
  readonly fromService: boolean;
}

export type Token =
  | string
  | null
  | undefined
  | (() => string | null | undefined | Promise<string | null | undefined>);

export interface Log {
  info(line: string): void;
}

/** Milliseconds; client/timing.js has each with its reason. */
export interface Timing {
  firstByteMs: number;
  silenceMs: number;
  quietMs: number;
  doubtMs: number;
  waitMs: number;
  answerMs: number;
  submitMs: number;
  pollMs: number;
  streamAgainMs: number;
  streamAgainMaxMs: number;
  reconnectMs: number;
  backoffMs: number;
  backoffMaxMs: number;
}

export interface VideoClientOptions {
  /** Where the service is; the page's own origin by default. */
  baseUrl?: string | undefined;
  /** For Authorization: Bearer. Without one, the cookie counts. A function is asked each time. */
  token?: Token;
  fetch?: typeof fetch | undefined;
  /** Gets the `[VIDEO]` lines; the console by default, null for none. */
  log?: Log | null | undefined;
  timing?: Partial<Timing> | undefined;
}

export interface VideoClient {
  /**
   * One order is one job: the same order again while this one is on its way gets the same
   * promise, and what fails on the network is sent again under the same key.
   */
  submit(order: Order, options?: SubmitOptions): Promise<Receipt>;
  /** Follows a job to its end. Resolves for a completed one; else rejects with what onError got. */
  watch(jobId: string, handlers?: WatchHandlers): Promise<JobStatus>;
  status(jobId: string): Promise<JobStatus>;
  cancel(jobId: string, options?: { ifFinished?: IfFinished | undefined }): Promise<JobStatus>;
  library(page?: {
    cursor?: string | null | undefined;
    limit?: number | undefined;
  }): Promise<LibraryPage>;
  /** Deletes a finished job and its video. */
  remove(jobId: string): Promise<null>;
  templates(): Promise<{ templates: Template[]; imageLimits: ImageLimits }>;
  credits(): Promise<Credits>;
  session(): Promise<Session>;
}

export declare function createVideoClient(options?: VideoClientOptions): VideoClient;
