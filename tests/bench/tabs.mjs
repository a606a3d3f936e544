/**
 * Tabs of a browser: each line of the input opens one, each line of the output tells when one saw
 * its video. `watch` is the service's own client; `poll` reads a status every so often, the first
 * time at any moment of its pause.
 */
import { createInterface } from 'node:readline';
import { createVideoClient } from '../../service/frontend/video-client.js';

const quiet = { info() {} };

async function watch({ url, jobId, token }) {
  const client = createVideoClient({ baseUrl: url, token, log: quiet });
  let seen;
  await client.watch(jobId, {
    onComplete: (job) => {
      seen = { at: Date.now(), video: job.url };
    },
  });
  return seen;
}

async function poll({ url, jobId, pauseMs }) {
  await after(Math.random() * pauseMs);
  for (;;) {
    const begun = Date.now();
    const answer = await fetch(`${url}/status?jobId=${jobId}`, { cache: 'no-store' });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const job = await answer.json();
    if (job.status === 'completed') return { at: Date.now(), video: job.url };
    await after(Math.max(0, begun + pauseMs - Date.now()));
  }
}

const after = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ways = { watch, poll };
const tell = (it) => process.stdout.write(`${JSON.stringify(it)}\n`);

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const { tab, way, ...job } = JSON.parse(line);
    try {
      tell({ tab, ...(await ways[way](job)) });
    } catch (error) {
      tell({ tab, error: String(error) });
    }
  })
  .on('close', () => process.exit());
