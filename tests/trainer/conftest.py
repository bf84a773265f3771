"""One thread, as in a search's trials: results are the same on every machine with this CPU."""

import torch

torch.set_num_threads(1)
