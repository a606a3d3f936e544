"""The catalogue's named crash points, and the doors at which they are found here.

A door's name is made, not given: see doors.py. This table says that none was forgotten.
"""

from collections.abc import Mapping
from typing import Final

NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    # submit
    "key_lookup·a": ("accept:store.job·a",),
    "reserve+row tx·b": ("accept:store.reserve·b",),
    "reserve+row tx·a": ("accept:store.reserve·a",),
    "attempt_marker·b": ("send:store.begin_submission·b",),
    "attempt_marker·a": ("send:store.begin_submission·a",),
    "POST fal·b": ("send:wire.submit·b",),
    "POST fal·sent": ("send:wire.submit·sent",),
    "POST fal·a": ("send:fal.submit·a",),
    "store_id·b": ("send:store.record_submission·b",),
    "store_id·a": ("send:store.record_submission·a",),
    "submit reply·b": ("accept:front.reply·b",),
    # ack
    "body_read·a": ("receive:front.body·a",),
    "verify·a": ("receive:verifier.verify·a",),
    "inbox tx·b": ("receive:store.record_delivery·b",),
    "inbox tx·a": ("receive:store.record_delivery·a",),
    "ack reply·b": ("receive:front.reply·b",),
    "nudge worker·b": ("receive:nudge.delivery·b",),
    # finalise
    "claim·a": ("finalise:store.lease·a",),
    "result_fetch·a": ("finalise:fal.result·a", "handle:fal.check·a"),
    "download·first_byte": ("finalise:download.first_byte·a",),
    "download·mid": ("finalise:download.mid·a",),
    "download·last": ("finalise:download.last·a",),
    "mpu_create·a": ("finalise:s3.create_multipart_upload·a",),
    "part_n·b": tuple(f"finalise:s3.upload_part_{n}·b" for n in (1, 2, 3)),
    "part_n·a": tuple(f"finalise:s3.upload_part_{n}·a" for n in (1, 2, 3)),
    "complete·b": ("finalise:s3.complete_multipart_upload·b", "finalise:s3.put_object·b"),
    "complete·a": ("finalise:s3.complete_multipart_upload·a", "finalise:s3.put_object·a"),
    "head_check·a": ("finalise:s3.head_object·a",),
    "capture+library+event tx·b": ("finalise:store.settle_ready·b",),
    "capture+library+event tx·a": ("finalise:store.settle_ready·a",),
    # fail / cancel
    "verdict·a": ("handle:store.take_delivery·a", "sweep:fal.check·a"),
    "release+state tx·b": tuple(
        f"{path}:store.close_unfilled·b"
        for path in ("send", "handle", "sweep", "finalise", "cancel")
    ),
    "release+state tx·a": tuple(
        f"{path}:store.close_unfilled·a"
        for path in ("send", "handle", "sweep", "finalise", "cancel")
    ),
    "fal_cancel·b": ("stop:wire.cancel·b",),
    "fal_cancel·sent": ("stop:wire.cancel·sent",),
    "fal_cancel·a": ("stop:fal.cancel·a",),
    # sweep: the scan takes what it finds in the same statement
    "lease_scan·a": ("sweep:store.due_jobs·a", "sweep:store.due_deliveries·a"),
    "sweep claim·a": ("sweep:store.due_jobs·a",),
    "fal_status·a": ("sweep:fal.check·a", "sweep:fal.find·a"),
    "adopt tx·b": ("sweep:store.record_submission·b", "handle:store.record_submission·b"),
    "adopt tx·a": ("sweep:store.record_submission·a", "handle:store.record_submission·a"),
    "dead_letter tx·b": ("sweep:store.park·b", "handle:store.park_delivery·b"),
    "dead_letter tx·a": ("sweep:store.park·a", "handle:store.park_delivery·a"),
    # boot
    "sweep_first·a": ("sweep:store.due_jobs·a",),
}

# Where a process is told to stop, by the name the catalogue has for it.
STOPPED: Final[Mapping[str, str]] = {
    "sigterm·ack": "receive:store.record_delivery·b",
    "sigterm·part_n": "finalise:s3.upload_part_2·b",
    "sigterm·tx": "finalise:store.settle_ready·b",
}

# Only a real process dies there: see test_sigkill.py.
MIGRATING: Final = "migrate·mid"

ABSENT: Final[Mapping[str, str]] = {
    "notify·b": "nobody is notified: whoever waits reads the row that the transaction wrote",
    "temp_cleanup·b": "no temporary files; parts left over are aborted by the next holder",
    "spool_drain·each record": "no spool: what cannot be stored is answered 503 and sent again",
}

# Methods of the ports that flows call and no life here passes, each with the reason.
_THUMBNAILS: Final = "after the money; tests/faults/test_afterwards.py dies at each of these"
_RETENTION: Final = "no job's road; tests/keeping/test_retention_batches.py dies at each of these"
UNEXPLORED: Final[Mapping[str, str]] = {
    "bucket.read": _THUMBNAILS,
    "store.drop_thumbnail": _THUMBNAILS,
    "store.due_thumbnails": _THUMBNAILS,
    "store.set_thumbnail": _THUMBNAILS,
    "store.begin_chore": _RETENTION,
    "store.longest_parked_s": _RETENTION,
    "store.note_images_removed": _RETENTION,
    "store.old_start_images": _RETENTION,
}
