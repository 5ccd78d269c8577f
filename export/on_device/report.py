"""Runs a .tflite file on the device that is to be known and prints a report to send back.

On a Raspberry Pi or any Linux computer, with `pip install ai-edge-litert numpy`:

    python report.py --model=photos.tflite

On an Android phone, from a computer that reaches it by adb, with the program benchmark_model of
https://ai.google.dev/edge/litert/models/measurement (android_aarch64):

    python report.py --model=photos.tflite --benchmark_model=android_aarch64_benchmark_model

It runs the file on the CPU with each number of threads, on a phone on the GPU as well, and sends
nothing anywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import zipfile

FOLDER = "/data/local/tmp"
SETTINGS_FILE = "ssd_keras.json"
# What benchmark_model prints of a run.
PRINTED = {
    "first ms": r"First inference: (\d+)",
    "ms": r"Inference \(avg\): ([\d.e+]+)",
    "MB": r"overall=([\d.]+)",
    "delegated": r"Replacing (\d+ out of \d+ node\(s\).*?yielding \d+ partitions)",
}
MICROSECONDS = ("first ms", "ms")


def main() -> int:
    """Prints the report; 2 if the file or the device cannot be used."""
    arguments = _arguments()
    try:
        with open(arguments.model, "rb") as file:
            content = file.read()
        lines = about_file(arguments.model, content)
        if arguments.benchmark_model:
            lines += about_phone() + on_phone(arguments)
        else:
            lines += about_computer() + on_computer(content, arguments)
    # A damaged file or a missing program may bring any error about.
    except Exception as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prints how a .tflite file runs on a device.")
    parser.add_argument("--model", required=True, help="the .tflite file")
    parser.add_argument("--threads", default="1,2,4", help="numbers of threads, with commas")
    parser.add_argument("--repeats", type=int, default=50, help="runs of each")
    parser.add_argument("--benchmark_model", default="", help="for Android: the program to send")
    arguments = parser.parse_args()
    try:
        arguments.threads = [int(count) for count in arguments.threads.split(",")]
    except ValueError:
        parser.error("--threads must be numbers with commas, such as 1,2,4")
    return arguments


def about_file(path: str, content: bytes) -> list[str]:
    """What the file is: its name, size and hash, and what it says of itself."""
    digest = hashlib.sha256(content).hexdigest()[:16]
    lines = [f"file      {os.path.basename(path)}  {len(content) / 1e6:.2f} MB  sha256 {digest}"]
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            settings = json.loads(packed.read(SETTINGS_FILE))
    except (zipfile.BadZipFile, KeyError, ValueError):
        return [*lines, "settings  none inside"]
    known = ("quantization", "postprocess", "image_size", "resize")
    said = "  ".join(f"{name} {settings[name]}" for name in known if name in settings)
    return [*lines, f"settings  {said}"]


# === This computer ===


def about_computer() -> list[str]:
    """The board or processor, the system and the versions."""
    board = _read("/proc/device-tree/model").strip("\x00") or _processor()
    memory = re.search(r"MemTotal:\s+(\d+)", _read("/proc/meminfo"))
    size = f"  {int(memory[1]) / 1e6:.1f} GB" if memory else ""
    return [
        f"device    {board or platform.machine()}  {os.cpu_count()} cores{size}",
        f"system    {platform.platform()}  {platform.machine()}",
        f"versions  Python {platform.python_version()}  ai-edge-litert {_litert_version()}",
    ]


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", _read("/proc/cpuinfo"))
    return found[1] if found else platform.processor()


def _litert_version() -> str:
    from importlib import metadata

    return metadata.version("ai-edge-litert")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def on_computer(content: bytes, arguments: argparse.Namespace) -> list[str]:
    """The times by threads, and what the file makes of a picture that every device draws."""
    lines = []
    for count in arguments.threads:
        interpreter = _interpreter(content, count)
        times = _times(interpreter, arguments.repeats)
        lines.append(
            f"cpu       {count} threads  median {statistics.median(times):.2f} ms  "
            f"fastest {min(times):.2f}  slowest {max(times):.2f}  first {times[0]:.2f}"
        )
    return lines + _outputs(interpreter)


def _interpreter(content: bytes, threads: int):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    interpreter.set_tensor(entry["index"], picture(entry["shape"]).astype(entry["dtype"]))
    return interpreter


def picture(shape):
    """A picture `[1, H, W, 3]` of patches that is the same everywhere."""
    import numpy as np

    rows, columns, channels = np.ogrid[: shape[1], : shape[2], :3]
    return ((rows // 16) * 53 + (columns // 16) * 97 + channels * 71)[None] % 256


def _times(interpreter, repeats: int) -> list[float]:
    times = []
    for _ in range(max(2, repeats)):
        start = time.perf_counter()
        interpreter.invoke()
        times.append(1000 * (time.perf_counter() - start))
    return times


def _outputs(interpreter) -> list[str]:
    import numpy as np

    lines = []
    for output in interpreter.get_output_details():
        values = interpreter.get_tensor(output["index"])
        shape = "x".join(str(n) for n in values.shape)
        mean, largest = np.mean(values, dtype=np.float64), np.max(values)
        lines.append(f"output    {output['name']}  {shape}  mean {mean:.5f}  max {largest:.5f}")
    return lines


# === A phone at the end of a cable ===


def about_phone() -> list[str]:
    """The phone's maker, model, chip and system."""
    names = ("product.manufacturer", "product.model", "soc.model", "build.version.release")
    maker, model, chip, version = (_adb("shell", "getprop", f"ro.{name}").strip() for name in names)
    return [f"device    {maker} {model}  {chip or 'chip not told'}", f"system    Android {version}"]


def on_phone(arguments: argparse.Namespace) -> list[str]:
    """What benchmark_model says of the CPU with each number of threads, and of the GPU."""
    program, model = f"{FOLDER}/benchmark_model", f"{FOLDER}/report.tflite"
    _adb("push", arguments.benchmark_model, program)
    _adb("push", arguments.model, model)
    _adb("shell", "chmod", "+x", program)
    ways = {f"cpu       {n} threads": ["--use_xnnpack=true", f"--num_threads={n}"] for n in
            arguments.threads}  # fmt: skip
    ways["gpu     "] = ["--use_gpu=true"]
    shared = [f"--graph={model}", f"--num_runs={arguments.repeats}", "--verbose=true"]
    lines = [f"{way}  {_measure(program, [*shared, *flags])}" for way, flags in ways.items()]
    _adb("shell", "rm", "-f", program, model)
    return lines


def _measure(program: str, flags: list[str]) -> str:
    try:
        return summary(_adb("shell", program, *flags))
    except RuntimeError as error:
        return f"failed: {error}"


def summary(printed: str) -> str:
    """The numbers among what benchmark_model prints."""
    found = {name: re.search(pattern, printed) for name, pattern in PRINTED.items()}
    if not found["ms"]:
        return f"failed: {' '.join(printed.split())[-300:]}"
    parts = []
    for name, match in found.items():
        if match and name in MICROSECONDS:
            parts.append(f"{name} {float(match[1]) / 1000:.2f}")
        elif match:
            parts.append(f"{name} {match[1]}")
    return "  ".join(parts)


def _adb(*words: str) -> str:
    done = subprocess.run(["adb", *words], capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    if done.returncode:
        raise RuntimeError(f"adb {words[0]}: {' '.join(printed.split())[-300:]}")
    return printed


if __name__ == "__main__":
    sys.exit(main())
