# A session that computes with PyTorch: matrix products for a share of the time, and some memory.
# Arguments: share of the time (0 to 1), memory in MiB.
import sys
import time

import torch

CYCLE_S = 0.1

duty = float(sys.argv[1])
held = torch.empty(int(sys.argv[2]) << 20, dtype=torch.uint8, device="cuda")
left = torch.randn(2048, 2048, device="cuda")
right = torch.randn(2048, 2048, device="cuda")
product = torch.mm(left, right)
torch.cuda.synchronize()
print("ready", flush=True)

while True:
    begin = time.monotonic()
    while time.monotonic() - begin < duty * CYCLE_S:
        torch.mm(left, right, out=product)
        torch.cuda.synchronize()
    time.sleep(max(0.0, begin + CYCLE_S - time.monotonic()))
