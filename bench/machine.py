"""What stands over a table of timings: the machine and the versions."""
import os
import platform
import subprocess

FEATURES = ("avx2", "fma", "avx512f", "avx512vl", "avx512_bf16", "amx_bf16")


def processor():
    """Its name, and those of FEATURES that it has."""
    name, flags = platform.processor(), ""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
            if line.startswith("flags"):
                flags = line.split(":", 1)[1].split()
    return name, [feature for feature in FEATURES if feature in flags]


def cache(level):
    folder = f"/sys/devices/system/cpu/cpu0/cache/index{level}/size"
    if not os.path.exists(folder):
        return "?"
    with open(folder, encoding="utf-8") as file:
        return file.read().strip().replace("K", " KiB")


def describe(treadle, versions):
    name, features = processor()
    version = subprocess.run([treadle, "--version"], capture_output=True, text=True,
                             check=True).stdout.strip()
    return {"processor": name, "features": features, "cores": len(os.sched_getaffinity(0)),
            "second_level_cache": cache(2), "third_level_cache": cache(3),
            "treadle": version.splitlines()[0], "python": platform.python_version(),
            "peers": versions}
