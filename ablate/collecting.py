"""Import this first where much is imported: garbage is then collected seldom, and not at the end.

What imports make stays. By default the collector looks at it again and again, which costs 0.2 of the 1.7 s
that torch takes, and half a second of a report's figures for papers; once more as Python ends, which takes
0.35 s after torch and gives back what the end of the process gives back anyhow.
"""

import atexit
import gc

gc.set_threshold(100_000, 20, 100)
atexit.register(gc.freeze)
