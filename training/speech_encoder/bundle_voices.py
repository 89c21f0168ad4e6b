"""Bundle the synthesisers in one folder that runs on a machine without them.

    python -m training.speech_encoder.bundle_voices DEST [--packages FOLDER] [--with-held-out]

Writes the folder DEST and the archive DEST.tar.xz.

Takes the engines' Debian packages (downloaded with apt-get where no folder of them is given),
keeps the libraries, the English data and the training voices, and compiles stand-ins for the two
sound-card libraries, which synthesis to memory never calls.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = (
    "libespeak-ng1",
    "espeak-ng-data",
    "libsonic0",
    "libflite1",
    "librhvoice-core7",
    "librhvoice5",
    "rhvoice-english",
    "libttspico0",
    "libttspico-data",
)
"""Of Debian 12; the RHVoice voices and the Pico lingware are in its non-free part, because the
recordings they were trained on are not packaged: the licences themselves are free."""

LIBRARIES = (
    "libespeak-ng.so.1",
    "libsonic.so.0",
    "libflite.so.1",
    "libflite_usenglish.so.1",
    "libflite_cmulex.so.1",
    "libRHVoice_core.so.7",
    "libRHVoice.so.5",
    "libttspico.so.0",
)
FLITE_VOICES = ("slt", "awb", "kal16")
RHVOICE_VOICES = ("alan", "bdl", "slt")
HELD_OUT = {"flite": "rms", "rhvoice": "clb"}
PICO_FILES = ("en-GB_ta.bin", "en-GB_kh0_sg.bin", "en-US_ta.bin", "en-US_lh0_sg.bin")
ESPEAK_FILES = ("phondata", "phonindex", "phontab", "intonations", "en_dict")
RHVOICE_QUALITY = "16000"
RHVOICE_CONFIG = "quality=min\n"
"""Models for 16,000 Hz, of two sets in the package."""
UNUSED = shutil.ignore_patterns("voice.data", "vocab.fst")
"""RHVoice never opens these: the models again in one file, and words that tell languages apart."""

PCAUDIO_SYMBOLS = """
create_audio_device_object audio_object_open audio_object_close audio_object_write
audio_object_drain audio_object_flush audio_object_destroy audio_object_strerror
"""
ALSA_SYMBOLS = """
snd_pcm_hw_params_any snd_pcm_close snd_pcm_prepare snd_pcm_drain snd_pcm_hw_params_set_rate
snd_pcm_hw_params snd_pcm_hw_params_sizeof snd_pcm_state snd_pcm_open snd_pcm_writei snd_pcm_wait
snd_pcm_resume snd_strerror snd_pcm_set_params snd_config_update_free_global snd_pcm_drop
snd_pcm_hw_params_set_access snd_pcm_hw_params_set_channels snd_pcm_hw_params_set_format
"""
STUBS = {
    "libpcaudio.so.0": (None, PCAUDIO_SYMBOLS),
    "libasound.so.2": ("ALSA_0.9", ALSA_SYMBOLS),
}
"""Library -> version of its symbols, and the symbols that libespeak-ng and libflite import."""


def run(*command: str, cwd: Path | None = None) -> None:
    """Run a command; its error output is shown and its failure raised."""
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def unpack(packages: Path, into: Path) -> None:
    """Unpack the Debian packages of a folder into one tree.

    Args:
        packages: Folder of ``*.deb`` files.
        into: Root of the tree.
    """
    for name in PACKAGES:
        files = sorted(packages.glob(f"{name}_*.deb"))
        if len(files) != 1:
            raise SystemExit(f"{packages} has {len(files)} files {name}_*.deb, expected one")
        run("dpkg", "-x", str(files[0]), str(into))


def compile_stub(library: str, version: str | None, symbols: str, lib: Path) -> None:
    """Compile a library whose functions do nothing.

    Args:
        library: File and soname.
        version: Version that the symbols carry, if any.
        symbols: Names, separated by white space.
        lib: Folder for the result.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "stub.c")
        source.write_text(
            "".join(f"long {name}(void) {{ return -1; }}\n" for name in symbols.split())
        )
        flags = ["-shared", "-fPIC", "-Os", "-s", "-nostdlib", f"-Wl,-soname,{library}"]
        if version:
            script = Path(scratch, "stub.map")
            script.write_text(f"{version} {{ global: *; }};\n")
            flags.append(f"-Wl,--version-script={script}")
        run("gcc", *flags, "-o", str(lib / library), str(source))


def collect(tree: Path, dest: Path, *, held_out: bool) -> None:
    """Copy what is needed out of the unpacked packages.

    Args:
        tree: Root of the unpacked packages.
        dest: Folder to write.
        held_out: Include the held-out voices, for validation clips.
    """
    flite, rhvoice = list(FLITE_VOICES), list(RHVOICE_VOICES)
    if held_out:
        flite.append(HELD_OUT["flite"])
        rhvoice.append(HELD_OUT["rhvoice"])
    lib = dest / "lib"
    lib.mkdir(parents=True)
    system = tree / "usr/lib/x86_64-linux-gnu"
    for name in (*LIBRARIES, *(f"libflite_cmu_us_{voice}.so.1" for voice in flite)):
        shutil.copy(system / name, lib / name)
    for name, (version, symbols) in STUBS.items():
        compile_stub(name, version, symbols, lib)

    espeak, out = system / "espeak-ng-data", dest / "espeak-ng-data"
    out.mkdir()
    for name in ESPEAK_FILES:
        shutil.copy(espeak / name, out / name)
    (out / "lang/gmw").mkdir(parents=True)
    for path in (espeak / "lang/gmw").glob("en*"):
        shutil.copy(path, out / "lang/gmw")
    shutil.copytree(espeak / "voices/!v", out / "voices/!v")

    (dest / "pico").mkdir()
    for name in PICO_FILES:
        shutil.copy(tree / "usr/share/pico/lang" / name, dest / "pico")

    source, out = tree / "usr/share/RHVoice", dest / "RHVoice"
    shutil.copytree(source / "languages/English", out / "languages/English", ignore=UNUSED)
    for voice in rhvoice:
        models, kept = source / "voices" / voice, out / "voices" / voice
        shutil.copytree(models / RHVOICE_QUALITY, kept / RHVOICE_QUALITY, ignore=UNUSED)
        for path in models.glob("voice.*"):
            shutil.copy(path, kept)
    (out / "RHVoice.conf").write_text(RHVOICE_CONFIG)


def main() -> None:
    """Write the folder and print its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dest", type=Path)
    parser.add_argument("--packages", type=Path, help="folder of the .deb files")
    parser.add_argument("--with-held-out", action="store_true", help="for validation clips only")
    options = parser.parse_args()
    if options.dest.exists():
        raise SystemExit(f"{options.dest} exists: name a new folder")
    with tempfile.TemporaryDirectory() as scratch:
        packages = options.packages
        if packages is None:
            packages = Path(scratch, "packages")
            packages.mkdir()
            run("apt-get", "download", *PACKAGES, cwd=packages)
        tree = Path(scratch, "tree")
        unpack(packages, tree)
        collect(tree, options.dest, held_out=options.with_held_out)
    archive = shutil.make_archive(
        str(options.dest), "xztar", root_dir=options.dest.parent, base_dir=options.dest.name
    )
    sizes = {p: p.stat().st_size for p in sorted(options.dest.rglob("*")) if p.is_file()}
    for top in sorted(options.dest.iterdir()):
        size = sum(s for p, s in sizes.items() if p.is_relative_to(top))
        sys.stdout.write(f"{size / 2**20:7.2f} MiB {top.name}\n")
    sys.stdout.write(f"{sum(sizes.values()) / 2**20:7.2f} MiB in {len(sizes)} files\n")
    sys.stdout.write(f"{Path(archive).stat().st_size / 2**20:7.2f} MiB {Path(archive).name}\n")


if __name__ == "__main__":
    main()
