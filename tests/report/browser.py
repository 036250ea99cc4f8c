"""A page in a real browser without a window: what a script finds, and what the console says."""

import html
import json
import re
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MARK = "what-the-script-found"


def browser():
    """Return the path of a Chromium, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def asked(page, script, folder, *, address="", javascript=True):
    """Return what the body of an async function returns on `page`, and the console's lines.

    The page is loaded from a file with a script more at its end, whose result is written into it;
    the browser then prints the page as it has become.
    """
    more = (
        f"<script>addEventListener('load', async () => {{ const asked = async () => {{ {script} }};"
        "const found = document.createElement('pre'); const told = await asked();"
        f"found.id = '{MARK}'; found.textContent = JSON.stringify(told);"
        "document.body.append(found); });</script>"
    )
    if not javascript:  # scripts of the page are taken out; ours has to ask
        page = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    path = folder / "page.html"
    path.write_text(page.replace("</body>", more + "</body>"))
    done = subprocess.run(
        [
            *(browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--enable-logging=stderr", "--virtual-time-budget=5000", "--window-size=390,844"),
            *(f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri() + address),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    text = re.search(rf'<pre id="{MARK}">(.*?)</pre>', done.stdout, re.DOTALL)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(text[1])) if text else None, complaints
