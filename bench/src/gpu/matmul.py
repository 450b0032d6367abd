# A session that computes with PyTorch: matrix products for a share of the time, and some memory.
# Arguments: share of the time (0 to 1), memory in MiB.
import sys
import time

import torch

CYCLE_S = 0.1

duty = float(sys.argv[1])
held = torch.empty(int(sys.argv[2]) << 20, dtype=torch.uint8, device="cuda")
# Some milliseconds a product: of a process whose kernels are short the driver may have no sample at all,
# where another never rests.
left = torch.randn(4096, 4096, device="cuda")
right = torch.randn(4096, 4096, device="cuda")
product = torch.mm(left, right)
torch.cuda.synchronize()
print("ready", flush=True)

while True:
    begin = time.monotonic()
    while time.monotonic() - begin < duty * CYCLE_S:
        torch.mm(left, right, out=product)
        torch.cuda.synchronize()
    time.sleep(max(0.0, begin + CYCLE_S - time.monotonic()))
