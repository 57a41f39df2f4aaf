"""llama.cpp's own HTTP server as a command: ``python llama_server.py MODEL PORT``."""

import sys
import time
from pathlib import Path

import xllamacpp

__all__ = ["COMMAND", "SAMPLING"]

COMMAND = (sys.executable, str(Path(__file__)), "{model}", "{port}")
SAMPLING = ("top_k=0", "top_p=1", "min_p=0")
"""What its sampler would cut off otherwise, so that temperature would hardly show."""


def main(path: str, port: int) -> int:
    """Serve until the process is ended."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.model_alias = {"tiny"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = 512
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.cache_prompt = False
    parameters.warmup = parameters.fit_params = parameters.ui = False
    parameters.verbosity = 1
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        sys.stderr.write(f"cannot load: {error}\n")
        return 1
    while server is not None:
        time.sleep(1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
