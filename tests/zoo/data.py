"""Real inputs for the zoo: photographs, written words, sentences, speech and files that Python packages ship.

Every function takes the index of a sample and gives the same again for the same index. Samples from `TESTS` on are of
other photographs, sentences and files than those before, so that what is measured was not calibrated on.
"""

import functools
import importlib.util
import pathlib
import re
import subprocess
import tempfile
import wave

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

CALIBRATION = 64
TESTS = CALIBRATION  # the first sample that is a test
COUNT = CALIBRATION + 32


def package(name):
    return pathlib.Path(importlib.util.find_spec(name).origin).parent


def random(index):
    return np.random.default_rng(index)


def pick(items, index, parts=3):
    """One of the items; of every `parts` in a row, the last is for tests."""
    tests = items[parts - 1::parts]
    rest = [item for i, item in enumerate(items) if i % parts != parts - 1]
    chosen = tests if index >= TESTS else rest
    return chosen[(index - TESTS if index >= TESTS else index) % len(chosen)]


# Pictures


@functools.cache
def photographs():
    folders = {"skimage": ("data", "astronaut.png chelsea.png coffee.png rocket.jpg motorcycle_left.png hubble_deep_field.jpg "
                                   "retina.jpg coins.png camera.png ihc.png gravel.png moon.png"),
               "sklearn": ("datasets/images", "china.jpg flower.jpg"),
               "matplotlib": ("mpl-data/sample_data", "grace_hopper.jpg")}
    return [Image.open(package(name) / folder / file).convert("RGB")
            for name, (folder, files) in folders.items() for file in files.split()]


def photograph(index, height, width):
    """Part of a photograph, mirrored or not, brighter or darker: uint8 [height, width, 3], red first."""
    rng, photo = random(index), pick(photographs(), index)
    share = rng.uniform(0.35, 1)
    crop_width = max(8, int(min(photo.width, photo.height * width / height) * share))
    crop_height = max(8, int(crop_width * height / width))
    left, top = rng.integers(0, photo.width - crop_width + 1), rng.integers(0, photo.height - crop_height + 1)
    photo = photo.resize((width, height), Image.BILINEAR, (left, top, left + crop_width, top + crop_height))
    pixels = np.asarray(photo)[:, ::rng.choice([-1, 1])] * rng.uniform(0.7, 1.2)
    return np.clip(pixels, 0, 255).astype(np.uint8)


@functools.cache
def fonts():
    files = (package("matplotlib") / "mpl-data/fonts/ttf").glob("DejaVu*.ttf")
    return sorted(file for file in files if "Display" not in file.name)  # which lack most letters


def draw_words(canvas, at, words, size, rng, colour):
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(str(fonts()[rng.integers(len(fonts()))]), size)
    draw.text(at, words, font=font, fill=colour)
    return draw.textbbox(at, words, font=font)


def line_of_text(index, height):
    """Some words on a plain ground, as wide as they are: uint8 [height, width, 3]."""
    rng = random(index)
    words = " ".join(sentence(index).split()[:rng.integers(1, 5)])[:24]
    ground, ink = rng.integers(170, 256, 3), rng.integers(0, 110, 3)
    canvas = Image.new("RGB", (height * 30, height), tuple(int(c) for c in ground))
    box = draw_words(canvas, (height // 4, height // 8), words, int(height * 0.65), rng, tuple(int(c) for c in ink))
    width = -(-int(box[2] + height // 4) // 32) * 32  # widths come again, as in a service that rounds them up
    return np.asarray(canvas.crop((0, 0, width, height)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8))))


def page(index, height, width):
    """Paragraphs, headings and photographs: uint8 [height, width, 3]."""
    rng = random(index)
    canvas = Image.new("RGB", (width, height), (250, 250, int(rng.integers(235, 256))))
    top = int(rng.integers(8, 40))
    while top < height - 20:
        kind = rng.integers(6)
        if kind == 0 and top < height - 90:
            photo = photograph(index + 1000 * top % CALIBRATION if index < TESTS else index, 80, width // 2)
            canvas.paste(Image.fromarray(photo), (int(rng.integers(0, width // 2)), top))
            top += 95
            continue
        size = int(rng.integers(20, 32) if kind == 1 else rng.integers(10, 16))
        words = sentence(index + top % CALIBRATION if index < TESTS else index)
        draw_words(canvas, (int(rng.integers(8, 60)), top), words, size, rng, (20, 20, int(rng.integers(0, 90))))
        top += size + int(rng.integers(4, 20))
    return np.asarray(canvas)


def captcha(index, height, width):
    """Five characters over noise and lines: uint8 [height, width, 3]."""
    rng = random(index)
    canvas = Image.new("RGB", (width, height), tuple(int(c) for c in rng.integers(180, 256, 3)))
    letters = list("abcdefghkmnpqrstuvwxyzABCDEFGHKLMNPRSTUVWXYZ23456789")
    for place in range(5):
        glyph = Image.new("RGBA", (height, height))
        draw_words(glyph, (height // 4, height // 8), str(rng.choice(letters)), int(height * 0.6), rng,
                   tuple(int(c) for c in rng.integers(0, 120, 3)) + (255,))
        glyph = glyph.rotate(float(rng.uniform(-25, 25)))
        canvas.paste(glyph, (int(place * width / 5.6), int(rng.integers(-4, 5))), glyph)
    draw = ImageDraw.Draw(canvas)
    for _ in range(3):
        draw.line([(int(x), int(y)) for x, y in rng.uniform(0, [width, height], (2, 2))], (90, 90, 90))
    noisy = np.asarray(canvas) + rng.normal(0, 8, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


# Text


@functools.cache
def sentences():
    """From the descriptions of scikit-learn's data sets."""
    text = "\n\n".join(file.read_text() for file in sorted((package("sklearn") / "datasets/descr").glob("*.rst")))
    found = re.findall(r"[A-Z][a-z]*(?: [A-Za-z0-9,'-]+){4,34}[.?]", re.sub(r"\s+", " ", text))
    return sorted(set(found), key=lambda s: (hash_of(s), s))


def hash_of(text):
    return sum(ord(c) * (i % 31 + 1) for i, c in enumerate(text)) % 9973


def sentence(index):
    return pick(sentences(), index)


CHINESE = ["张三在北京市的一家公司工作", "今天的天气非常好我们去公园散步", "他于一九九八年毕业于清华大学", "上海是中国最大的城市之一",
           "这本书的作者是一位著名的历史学家", "请问去火车站怎么走", "人工智能正在改变我们的生活", "昨天晚上的足球比赛非常精彩",
           "李四从广州坐飞机去了成都", "孩子们在教室里认真地学习数学", "这个城市的人口超过一千万", "医生建议他每天早上跑步半小时",
           "由于大雨航班推迟了三个小时", "他们正在讨论明年的工作计划", "中国科学院发布了最新的研究报告"]


def chinese(index):
    rng = random(index)
    return "，".join(pick(CHINESE, index + int(i)) if index < TESTS else pick(CHINESE, index + i)
                    for i in range(rng.integers(1, 4)))


# Sound


@functools.cache
def speech(index, phrase=None):
    """Two seconds of a synthetic voice that reads a sentence, or the phrase, with noise: float32 [-1, 1], 16 kHz."""
    rng = random(index)
    voice = f"en{rng.choice(['', '-us', '-gb-scotland'])}+{rng.choice(['m1', 'm3', 'm7', 'f1', 'f2', 'f4'])}"
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(rng.integers(120, 200)), "-p", str(rng.integers(30, 70)),
                        "-w", file, phrase or sentence(index)], check=True)
        with wave.open(str(file)) as opened:
            rate = opened.getframerate()
            sound = np.frombuffer(opened.readframes(opened.getnframes()), np.int16) / 32768
    times = np.arange(int(len(sound) * 16000 / rate)) * rate / 16000
    sound = np.interp(times, np.arange(len(sound)), sound) * rng.uniform(0.2, 0.9)
    sound = np.concatenate([np.zeros(rng.integers(0, 8000)), sound, np.zeros(32000)])[:32000]
    return (sound + rng.normal(0, rng.uniform(0.0005, 0.02), 32000)).clip(-1, 1).astype(np.float32)


# Files


@functools.cache
def files():
    found = [file for name in ("numpy", "skimage", "matplotlib", "sklearn") for file in sorted(package(name).rglob("*"))
             if file.is_file() and file.suffix != ".pyc" and file.stat().st_size > 64]
    order = np.random.default_rng(0).permutation(len(found))
    by_kind = {}
    for i in order:
        by_kind.setdefault(found[i].suffix, []).append(found[i])
    mixed = [kind[i] for i in range(20) for kind in by_kind.values() if i < len(kind)]
    return mixed


def file_content(index):
    return pick(files(), index).read_bytes()
