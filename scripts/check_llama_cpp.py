#!/usr/bin/env python3
"""Does stock llama.cpp load a model of `cubby make-model` and generate with it?

  pip install llama-cpp-python        builds for some minutes
  check_llama_cpp.py MODEL.gguf       prints the tokens; exit status 1 when something is wrong

Not part of the tests: it needs a package that the project does not depend on.
"""

import math
import sys

try:
    from llama_cpp import Llama
except ImportError:
    sys.exit("check_llama_cpp: needs llama-cpp-python; install it with pip")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    model = Llama(sys.argv[1], n_ctx=128, n_threads=1, logits_all=True, verbose=False)
    prompt = model.tokenize(b"the heat is on", add_bos=False)
    tokens = []
    for token in model.generate(prompt, temp=0.0):
        tokens.append(int(token))
        if len(tokens) == 8:
            break
    scores = model.scores[:len(prompt) + len(tokens) - 1]
    finite = all(math.isfinite(value) for row in scores for value in row)
    spread = float(scores.max() - scores.min())
    print(f"prompt {prompt} -> {tokens}; scores finite: {finite}, spread {spread:.3g}")
    return 0 if finite and spread > 0 and len(tokens) == 8 else 1


if __name__ == "__main__":
    sys.exit(main())
