"""scripts/gpu_check.sh gives JSON whatever fails, and its program finds kernels that compute something else.

gpu_check_test.py SCRIPT PROGRAM FOLDER_OF_A_DRIVER KERNELS"""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SCRIPT, PROGRAM, DRIVER = map(os.path.abspath, sys.argv[1:4])
KERNELS = sys.argv[4]
SAFE_S = 300  # of runs that are to end by themselves, on a machine as busy as it may be


class GpuCheck(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.place = Path(self.folder.name)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": self.folder.name,
            "LD_LIBRARY_PATH": DRIVER,
            "CUBBY_FAKE_MEMORY_MIB": "1024",
            "BUILD": str(self.place / "build"),
            "OUT": str(self.place / "out"),
            "CARRY": str(self.place),  # has nothing
            "GPU_CHECK": PROGRAM,
        }

    def run_script(self, **more):
        env = {name: value for name, value in {**self.env, **more}.items() if value is not None}
        came = subprocess.run([SCRIPT], env=env, capture_output=True, text=True, timeout=SAFE_S)
        return came, self.results()

    def results(self):
        return json.loads((self.place / "out" / "results.json").read_text())

    def stand_in(self, text):
        """A program in place of gpu_check."""
        path = self.place / "stand_in"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def test_what_all_parts_found_is_in_one_file(self):
        came, results = self.run_script(PARTS="conformance lockers")
        self.assertEqual(came.returncode, 0, came.stdout + came.stderr)
        self.assertEqual(results["status"], 0)
        self.assertEqual(list(results["parts"]), ["build", "conformance", "lockers"])
        lockers = results["parts"]["lockers"]
        self.assertEqual(lockers["came"], "good")
        self.assertEqual(lockers["found"]["device"], "fake device")
        self.assertEqual(lockers["found"]["file to device"], "pass")
        self.assertTrue(lockers["found"]["over"])
        self.assertLessEqual(len(os.listdir(self.place / "out")), 3)

    def test_a_device_that_stands_still_ends_in_time(self):
        came, results = self.run_script(PARTS="lockers figures", LIMIT_S="8", CUBBY_FAKE_HOLD="1")
        self.assertEqual(came.returncode, 1)
        self.assertEqual(results["status"], 1)
        self.assertEqual(results["ended"], "it came to its end")
        for part in "lockers", "figures":  # for the second no time was left
            self.assertIn("did not end in time", results["parts"][part]["came"])
        self.assertFalse(results["parts"]["lockers"]["found"]["over"])

    def test_what_was_found_before_a_crash_is_there(self):
        crash = self.stand_in('echo "{\\"first\\": \\"pass\\", \\"over\\": false}" >$2/$1.json\nkill -SEGV $$\n')
        came, results = self.run_script(PARTS="kernels slots", GPU_CHECK=crash)
        self.assertEqual(came.returncode, 1)
        for part in "kernels", "slots":
            self.assertIn("signal 11", results["parts"][part]["came"])
            self.assertEqual(results["parts"][part]["found"]["first"], "pass")

    def test_kernels_that_were_left_out_though_there_is_a_compiler_are_no_success(self):
        (self.place / "bin").mkdir()
        nvcc = self.place / "bin" / "nvcc"
        nvcc.write_text("#!/bin/sh\necho none\n")
        nvcc.chmod(0o755)
        without = self.stand_in(
            'echo "{\\"kernels\\": \\"skipped: the library was built without a CUDA toolkit\\", '
            '\\"over\\": true}" >$2/$1.json\n'
        )
        came, results = self.run_script(
            PARTS="kernels", GPU_CHECK=without, PATH=f"{self.place}/bin:{self.env['PATH']}"
        )
        self.assertEqual(came.returncode, 1)
        self.assertEqual(results["status"], 1)
        self.assertIn("nvcc is here", came.stdout)

    def test_a_build_that_fails_says_so(self):
        (self.place / "bin").mkdir()
        cmake = self.place / "bin" / "cmake"
        cmake.write_text('#!/bin/sh\necho "a \\"compiler\\" was not found"\nexit 1\n')
        cmake.chmod(0o755)
        path = f"{self.place}/bin:{self.env['PATH']}"
        came, results = self.run_script(GPU_CHECK=None, PATH=path)
        self.assertEqual(came.returncode, 1)
        self.assertIn('a "compiler" was not found', results["parts"]["build"]["came"])
        self.assertIn("no program", results["ended"])
        # One that was carried takes its place.
        carried = self.stand_in('echo "{\\"over\\": true}" >$2/$1.json\n')
        os.rename(carried, self.place / "gpu_check")
        came, results = self.run_script(GPU_CHECK=None, PATH=path, PARTS="kernels")
        self.assertEqual(came.returncode, 1)
        self.assertEqual(results["parts"]["kernels"]["came"], "good")

    def test_no_gpu_is_said_and_no_failure(self):
        if any(os.path.exists(path) for path in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")):
            self.skipTest("there is a GPU here")
        none = self.stand_in("echo no driver\nexit 77\n")
        came, results = self.run_script(GPU_CHECK=none)
        self.assertEqual(came.returncode, 0)
        self.assertIn("no GPU", results["ended"])
        self.assertEqual(results["parts"]["conformance"]["came"], "no driver")

    def test_results_so_far_are_there_when_it_is_ended_from_outside(self):
        sleeper = self.stand_in('[ "$1" = lockers ] || exit 0\necho $$ >$2/pid\nexec sleep 600\n')
        env = {**self.env, "GPU_CHECK": sleeper}
        with subprocess.Popen([SCRIPT], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as script:
            until, pid = time.monotonic() + SAFE_S, self.place / "build" / "parts" / "pid"
            while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < until:
                time.sleep(0.05)
            script.send_signal(signal.SIGTERM)
            self.assertEqual(script.wait(SAFE_S), 1)
        results = self.results()
        self.assertEqual(results["status"], 1)
        self.assertEqual(results["parts"]["conformance"]["came"], "good")
        self.assertNotIn("lockers", results["parts"])
        sleeping = int(pid.read_text())
        while os.path.exists(f"/proc/{sleeping}") and time.monotonic() < until:
            time.sleep(0.05)
        self.assertFalse(os.path.exists(f"/proc/{sleeping}"))

    def test_kernels_that_do_nothing_are_found(self):
        if not KERNELS:
            self.skipTest("built without kernels")
        names = {
            "": [],
            "cubby_gate": ["gates"],
            "cubby_next_state": ["states"],
            "cubby_foresee": ["foresight"],
            "cubby_digest": ["digests"],
            "cubby_copy_spans": ["spans"],
        }
        for kernel, words in names.items():
            with self.subTest(kernel=kernel):
                came = subprocess.run(
                    [PROGRAM, "kernels", self.folder.name],
                    env={**self.env, "CUBBY_FAKE_IDLE_KERNEL": kernel},
                    capture_output=True, text=True, timeout=SAFE_S,
                )
                found = json.loads((self.place / "kernels.json").read_text())
                failed = {name.split()[0] for name, value in found.items() if str(value).startswith("FAIL")}
                self.assertEqual(failed, set(words), came.stdout + came.stderr)
                self.assertEqual(came.returncode, 1 if words else 0)
                self.assertTrue(found["over"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
