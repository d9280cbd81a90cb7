import argparse, sys, tempfile
from pathlib import Path
from tests.faults.nemeses import NEMESES
from tests.faults.run import Course, Run, dump, new_seed, summary
from tests.faults.topology import Plan, Topology

import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
p = argparse.ArgumentParser()
p.add_argument("--seed", default="")
p.add_argument("--seconds", type=float, default=60)
p.add_argument("--ops", type=int, default=0)
p.add_argument("--most", type=float, default=1e9)
p.add_argument("--rate", type=float, default=20)
p.add_argument("--only", default="")
p.add_argument("--folder", default="")
a = p.parse_args()
folder = Path(a.folder or tempfile.mkdtemp(prefix="moorage-faults-"))
ids = a.only.split(",") if a.only else None
nem = [n for n in NEMESES if ids is None or n.id in ids]
import time; T0=time.monotonic()
say = lambda t: print(f"[{time.monotonic()-T0:.1f}]", t, flush=True)
say("start")
with Topology(folder, Plan()) as t:
    say("up")
    r = Run(t, Course(a.seed or new_seed(), a.seconds, a.ops, a.most, a.rate, nemeses=nem), say)
    o = r.go()
    dump(o, folder / "outcome.json")
    say("judged")
    print(r.complaint() if o.violations else "fine")
for w in o.windows: print(w)
print(summary(o)); print(o.skipped, folder)
