"""A headless Chromium for tests. Screenshots stay in the build folder's `screenshots`."""

import os
import pathlib

from selenium import webdriver

SCREENSHOTS = pathlib.Path(os.environ["SCREENSHOTS"])


def start(dark=False):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "hide-scrollbars", "window-size=1240,900"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    return browser


def complaints(browser):
    """What the page's console says: blocked content, failed scripts."""
    return [entry["message"] for entry in browser.get_log("browser") if "favicon" not in entry["message"]]


def save_screenshot(browser, name):
    """The whole page, not only what fits the window."""
    height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.set_window_size(1240, height + 20)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(SCREENSHOTS / name))
