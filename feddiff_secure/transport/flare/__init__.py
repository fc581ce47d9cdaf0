"""The transport over NVIDIA FLARE 2.9: the only place of this project that imports nvflare."""
