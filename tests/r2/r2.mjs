// Cloudflare's R2 simulator on a free port of loopback.
// Arguments: folder access-key-id secret-access-key bucket...
// Prints its S3 endpoint when it is ready; ends when its input does.
import { Miniflare } from "miniflare";

const [folder, accessKeyId, secretAccessKey, ...buckets] = process.argv.slice(2);
const s3Credentials = { accessKeyId, secretAccessKey };

const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: 0,
  cf: false, // or it asks the internet where it is
  modules: true,
  script: "export default { fetch() { return new Response(null, { status: 404 }); } };",
  compatibilityDate: "2026-01-01",
  r2Persist: folder,
  r2Buckets: Object.fromEntries(buckets.map((id, n) => [`BUCKET_${n}`, { id, s3Credentials }])),
});

process.stdin.on("end", async () => {
  await miniflare.dispose();
  process.exit();
});
process.stdin.resume();
const url = await miniflare.ready;
console.log(new URL("/cdn-cgi/local/r2/s3", url).href);
