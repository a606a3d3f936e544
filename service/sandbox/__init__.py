"""Stand-ins for fal.ai and Cloudflare R2 on loopback: real HTTP, real signatures, real videos."""
