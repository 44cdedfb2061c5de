"""timm is imported without PyTorch's compiler, or, where that cannot be, with it."""

import subprocess
import sys

import pytest

PLAIN = """
import sys
from cpssl_lite.models.vit import build_vit
import torch
with torch.inference_mode():
    print(tuple(build_vit("vit_mini_patch16").eval()(torch.zeros(1, 5, 64, 64)).shape))
print("sympy" in sys.modules, "torch._dynamo" in sys.modules)
import torch._dynamo
print(callable(torch._dynamo.optimize))
"""
# As if this timm asked the compiler for a name that is not there.
AWKWARD = """
import sys
class Once:
    asked = 0
    def find_spec(self, name, path=None, target=None):
        if name == "timm.models.beit" and not Once.asked:
            Once.asked += 1
            from torch._dynamo import something_new
sys.meta_path.insert(0, Once())
from cpssl_lite.models.timm_parts import VisionTransformer
print(Once.asked, VisionTransformer.__module__, "sympy" in sys.modules)
"""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (PLAIN, ["(1, 64)", "False False", "True"]),
        (AWKWARD, ["1 timm.models.vision_transformer True"]),
    ],
)
def test_the_compiler_is_left_out_and_comes_when_it_is_wanted(program, said):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == said
