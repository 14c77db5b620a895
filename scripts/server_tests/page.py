"""The page in Chromium: chats, streams, stops, keeps, shows errors, and lets no text of a model do anything."""

import json
import shutil
import sys

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import harness
from harness import Server, call, check
from stub import Script, Stub

ATTACKS = [
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "<svg onload='window.pwned = 1'><animate onbegin='window.pwned = 1'></svg>",
    "<iframe srcdoc='<script>parent.pwned = 1</script>'></iframe>",
    "<style>* { display: none }</style><link rel=stylesheet href=//x.invalid>",
    "<a href='javascript:window.pwned = 1'>x</a>",
    "[click](javascript:window.pwned=1)",
    "[click](JaVaScRiPt:window.pwned=1) [click](\tjavascript:window.pwned=1)",
    "[click](data:text/html,<script>window.pwned=1</script>)",
    "[click](vbscript:x) [click](//x.invalid/a) [click](/v1/models) [a](blob:x) [a](file:///etc/passwd)",
    "<javascript:window.pwned=1> <https://ok.invalid/\" onmouseover=\"window.pwned=1>",
    "![x](https://x.invalid/a.png) ![x](x\" onerror=\"window.pwned=1)",
    "[x](https://ok.invalid/\"onmouseover=\"window.pwned=1) https://ok.invalid/\"onclick=window.pwned=1",
    "```\"><img src=x onerror=window.pwned=1>\ncode</code></pre><script>window.pwned=1</script>\n```",
    "`<img src=x onerror=window.pwned=1>` **<b onclick=window.pwned=1>b</b>**",
    "| <img src=x onerror=window.pwned=1> | b |\n|---|---|\n| <script>window.pwned=1</script> | [x](javascript:1) |",
    "&lt;img src=x onerror=window.pwned=1&gt; &#60;script&#62;window.pwned=1&#60;/script&#62;",
    "<think><script>window.pwned=1</script></think><form action=//x.invalid><button>x</button></form>",
    "__proto__ constructor ```__proto__\nx\n```\n\n```constructor\n1\n```",
    "\u202egpj.exe\u202c \u0000 \ufeff \ud83d\ude00",
]
FORBIDDEN = "script, style, link, iframe, object, embed, img, svg:not(button svg), form, base, meta, video, audio"

# Markdown, and the HTML that it becomes; of code its text alone.
MARKDOWN = [
    ("plain", "<p>plain</p>"),
    ("a\nb", "<p>a<br>b</p>"),
    ("a\n\nb", "<p>a</p><p>b</p>"),
    ("# One\n### Three ###", "<h2>One</h2><h4>Three</h4>"),
    ("#no heading", "<p>#no heading</p>"),
    ("**b** *i* _i_ __b__ ~~d~~ ***bi***",
     "<p><strong>b</strong> <em>i</em> <em>i</em> <strong>b</strong> <del>d</del> <em><strong>bi</strong></em></p>"),
    ("**b *bi* b**", "<p><strong>b <em>bi</em> b</strong></p>"),
    ("*i **bi***", "<p><em>i <strong>bi</strong></em></p>"),
    ("2 * 3 * 4 and a_b_c and **open", "<p>2 * 3 * 4 and a_b_c and **open</p>"),
    ("\\*no\\* `a *b* <c>` ``x ` y``", "<p>*no* <code>a *b* &lt;c&gt;</code> <code>x ` y</code></p>"),
    ("`open", "<p>`open</p>"),
    ("- a\n- b\n  - c\n    more\n- d", "<ul><li>a</li><li>b<ul><li>c<br>more</li></ul></li><li>d</li></ul>"),
    ("3. a\n4. b\n\ntext", '<ol start="3"><li>a</li><li>b</li></ol><p>text</p>'),
    ("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
    ("1. a\n   ```\n   x\n   ```\n2. b", None),
    ("- [x] a\n- [ ] b",
     '<ul><li class="task"><input type="checkbox" disabled="">a</li><li class="task"><input type="checkbox" disabled="">b</li></ul>'),
    ("> a\n> > b", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"),
    ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
    ("[a **b**](https://c.invalid/d_(e)) x", None),
    ("see https://a.invalid/b_c_d.", None),
    ("&lt;b&gt; &amp; <i>x</i> a<br>b", "<p>&lt;b&gt; &amp; &lt;i&gt;x&lt;/i&gt; a<br>b</p>"),
    ("| a | b |\n|:-:|--:|\n| 1 | x \\| y |\n\nend", None),
    (">" * 3000 + "x", None),
    ("- " * 500 + "x", None),
    ("*a " * 5000, None),
    ("[" * 20000, None),
    ("`" * 999 + "a``" * 3000, None),
    ("**a*b_c~~" * 3000, None),
    ("|" * 5000 + "\n" + "|-" * 5000, None),
]


def wait_until(condition, seconds=20):
    """As the harness does it. An element that the page replaces between finding and reading it is not there yet."""
    def met():
        try:
            return condition()
        except StaleElementReferenceException:
            return None

    return harness.wait_until(met, seconds)


class Page:
    def __init__(self, width=1280, height=800, touch=False):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        # --no-sandbox: the sandbox does not work for root, and the only page is our own.
        for flag in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server",
                     "--disable-background-networking", "--disable-component-update", "--no-first-run",
                     f"--window-size={width},{height}"]:
            options.add_argument(flag)
        if touch:
            metrics = {"width": width, "height": height, "pixelRatio": 2, "touch": True}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        self.colours("light")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def colours(self, scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def open(self, url):
        self.driver.get(url)
        self.wait_ready()

    def wait_ready(self):
        return wait_until(lambda: self.id("state").get_attribute("class") == "ready")

    def id(self, name):
        return self.driver.find_element(By.ID, name)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def press(self, key):
        webdriver.ActionChains(self.driver).send_keys(key).perform()

    def named(self, label, within=None):
        """The visible button with that accessible name."""
        found = (within or self.driver).find_elements(By.CSS_SELECTOR, f'button[aria-label="{label}"]')
        return found[-1]

    def say(self, text):
        """Returns when it is sent."""
        self.id("prompt").send_keys(text, Keys.ENTER)
        wait_until(lambda: self.id("prompt").get_attribute("value") == "")

    def set(self, name, text):
        """As if typed, but whatever characters it has."""
        self.run("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", self.id(name), text)

    def writing(self):
        return self.id("stop").is_displayed()

    def wait_written(self, seconds=60):
        return wait_until(lambda: not self.writing(), seconds)

    def messages(self):
        """(role, what it shows) of each."""
        return self.run("return [...document.querySelectorAll('.message')].map("
                        "m => [m.classList[1], m.querySelector('.body').innerText])")

    def answer(self):
        """The text of the last answer. Without waiting for anything."""
        return self.run("const all = document.querySelectorAll('.message.assistant .markdown:last-child');"
                        "return all.length ? all[all.length - 1].innerText : ''")

    def foot(self):
        return self.run("const all = document.querySelectorAll('.message .foot'); return all[all.length - 1].innerText")

    def titles(self):
        return self.run("return [...document.querySelectorAll('#conversations .open')].map(item => item.innerText)")

    def error_cards(self):
        return self.run("return [...document.querySelectorAll('.message .error')].map(card => card.innerText)")

    def wait_error_cards(self):
        """Those of an answer that ends with one; none if it does not."""
        wait_until(self.error_cards)
        self.wait_written()
        return self.error_cards()

    def errors(self):
        """What went wrong on the page since the last time, but for answers of the server that a test asked for."""
        lines = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        return [line for line in lines if "Failed to load resource" not in line]

    def close_settings(self):
        self.press(Keys.ESCAPE)
        wait_until(lambda: not self.id("settings").is_displayed())


def test_chat(page, server):
    """With the model itself."""
    answer = call(server.url + "/", key=server.key)
    policy = answer.headers.get("Content-Security-Policy", "")
    check("the page has a strict policy", "default-src 'none'" in policy and "unsafe" not in policy, policy)
    check("the page needs nothing else", "src=\"" not in answer.text.replace('src="data:', ""))
    page.open(server.url)
    model = server.call("/v1/models").json()["data"][0]["id"]
    check("it shows the model", page.id("model").text == model, page.id("model").text)

    def new_greedy():
        """In a conversation of its own the most probable answer to the long questions has over a thousand tokens."""
        page.id("new").click()
        page.id("open-settings").click()
        page.set("sampling-temperature", "0")
        page.set("sampling-max_tokens", "")
        page.close_settings()

    new_greedy()
    page.id("prompt").send_keys("Write a long story", Keys.SHIFT, Keys.ENTER, Keys.NULL, "about a lighthouse.")
    check("Shift+Enter begins a line", page.id("prompt").get_attribute("value") == "Write a long story\nabout a lighthouse.")
    page.press(Keys.ENTER)
    first = wait_until(page.answer, 30)
    grown = wait_until(lambda: len(page.answer()) > len(first or "") + 10, 30)
    check("the answer streams", first and grown and page.writing(), f"{len(first or '')} characters, then more")
    page.id("stop").click()
    check("the stop button stops", page.wait_written(5) and "Stopped" in page.foot(), page.foot())
    check("the server stops, too", wait_until(lambda: server.running() == 0, 5))
    text = page.answer()
    check("what was written stays", len(text) >= len(first or "x"))

    page.id("open-settings").click()
    page.set("sampling-max_tokens", "24")
    page.close_settings()
    page.say("What is the capital of France?")
    page.wait_written()
    foot = page.foot()
    check("speed, first token and cache are shown",
          all(part in foot for part in ("tokens/s", "first after", "read", "from the cache")), foot)
    shown = page.messages()
    page.driver.refresh()
    page.wait_ready()
    check("it survives a reload", page.messages() == shown and len(shown) == 4, f"{len(page.messages())} messages")

    new_greedy()
    page.say("Tell me everything about the sea, at length.")
    wait_until(lambda: len(page.answer()) > 20, 30)
    page.press(Keys.ESCAPE)
    check("Escape stops", page.wait_written(5) and "Stopped" in page.foot(), page.foot())
    new_greedy()
    page.say("Write a long story about a king and his three daughters.")
    wait_until(lambda: len(page.answer()) > 20, 30)
    page.driver.refresh()
    page.wait_ready()
    check("a reload in the middle keeps what was written", "Interrupted" in page.foot() and len(page.answer()) > 0,
          page.foot())
    check("and the server stops", wait_until(lambda: server.running() == 0, 5))
    check("no errors in the console", not (found := page.errors()), found)


def test_conversations(page, stub):
    page.run("localStorage.clear(); sessionStorage.clear()")
    page.open(stub.url)
    stub.scripts.append(Script(["The ", "**first**", " answer"]))
    page.say("First question")
    page.wait_written()
    check("Markdown is rendered", page.all(".message.assistant strong")[-1].text == "first")
    check("figures of the server are shown", "530 read, 512 from the cache" in page.foot(), page.foot())
    page.id("new").click()
    check("a new conversation is empty", page.messages() == [] and page.id("welcome").is_displayed())
    slow = Script(["Second ", "answer"], hold=True)
    stub.scripts.append(slow)
    page.say("Second question")
    wait_until(lambda: page.answer() == "Second answer")
    page.all("#conversations .open")[1].click()
    check("another conversation can be read meanwhile", page.messages()[1][1] == "The first answer", page.messages())
    slow.held.set()
    wait_until(lambda: not page.all("#conversations .writing"))
    page.all("#conversations .open")[0].click()
    check("the answer went on", page.messages()[1][1] == "Second answer" and not page.writing(), page.messages())
    check("the newest comes first", page.titles() == ["Second question", "First question"], page.titles())

    page.named("Rename: Second question").click()
    page.all("#conversations input")[0].send_keys("<b>Renamed</b>", Keys.ENTER)
    page.driver.refresh()
    page.wait_ready()
    check("renamed, also after a reload", page.titles() == ["<b>Renamed</b>", "First question"], page.titles())
    check("the same one is shown after a reload", page.messages()[0][1] == "Second question")
    page.named("Delete: <b>Renamed</b>").click()
    page.all("#confirm button")[0].click()
    check("deleting asks first", len(page.titles()) == 2)
    page.named("Delete: <b>Renamed</b>").click()
    page.id("confirm-yes").click()
    wait_until(lambda: len(page.titles()) == 1)
    page.driver.refresh()
    page.wait_ready()
    check("deleted, also after a reload", page.titles() == ["First question"], page.titles())

    stub.scripts.append(Script(["Again"]))
    page.all("#conversations .open")[0].click()
    page.named("Answer again").click()
    wait_until(lambda: page.answer() == "Again")
    page.wait_written()
    sent = [m["content"] for m in stub.bodies[-1]["messages"]]
    check("answering again sends what came before", sent == ["First question"], sent)
    stub.scripts += [Script(["More"]), Script(["Edited"])]
    page.say("And more?")
    page.wait_written()
    sent = [m["content"] for m in stub.bodies[-1]["messages"]]
    check("the whole conversation is sent", sent == ["First question", "Again", "And more?"], sent)
    page.all('.message.user button[aria-label="Edit the message"]')[0].click()
    field = page.all(".editor textarea")[0]
    field.clear()
    field.send_keys("Other question", Keys.ENTER)
    wait_until(lambda: page.answer() == "Edited")
    page.wait_written()
    sent = [m["content"] for m in stub.bodies[-1]["messages"]]
    check("an edited message is sent in place of the old", sent == ["Other question"], sent)
    check("what followed it is gone", [text for _, text in page.messages()] == ["Other question", "Edited"])

    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.open(stub.url)
    stub.scripts.append(Script(["From the other tab"]))
    page.say("Two tabs?")
    page.wait_written()
    page.driver.switch_to.window(first)
    shown = wait_until(lambda: page.answer() == "From the other tab", 5)
    check("another tab's messages are shown", shown, page.messages())
    page.driver.switch_to.window(next(h for h in page.driver.window_handles if h != first))
    page.driver.close()
    page.driver.switch_to.window(first)

    page.id("open-settings").click()
    page.set("system", "Be brief.")
    wanted = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1,
              "max_tokens": 77, "seed": 7}
    for name, value in wanted.items():
        page.set("sampling-" + name, str(value))
    page.set("sampling-top_p", "7")
    check("a value out of its range is marked", page.id("sampling-top_p").get_attribute("aria-invalid") == "true")
    page.set("sampling-top_p", "0.9")
    page.close_settings()
    stub.scripts.append(Script(["Brief"]))
    page.say("Settings?")
    page.wait_written()
    body = stub.bodies[-1]
    check("sampling options are sent", {name: body.get(name) for name in wanted} == wanted, body)
    check("the system message is sent", body["messages"][0] == {"role": "system", "content": "Be brief."})
    check("usage is asked for", body["stream"] and body["stream_options"] == {"include_usage": True})
    page.driver.refresh()
    page.wait_ready()
    page.id("open-settings").click()
    check("settings survive a reload", page.id("system").get_attribute("value") == "Be brief."
          and page.id("sampling-min_p").get_attribute("value") == "0.05")
    page.id("reset-settings").click()
    page.close_settings()
    check("no errors in the console", not (found := page.errors()), found)


def test_errors(page, stub, server):
    cases = [
        ("too long", Script(status=400, message="the prompt has 9000 tokens, the context 8192"), "9000 tokens"),
        ("busy", Script(status=429, message="512 requests wait already", retry_after=3), "Try again in 3 s"),
        ("draining", Script(status=503, message="the server is shutting down", retry_after=5), "not ready"),
        ("internal", Script(status=500, message="something broke"), "something broke"),
        ("error in the stream", Script(["Some"], error_event="the engine stopped"), "the engine stopped"),
        ("stream cut off", Script(["Some"], cut=True), "ended before the answer did"),
    ]
    for name, script, wanted in cases:
        page.id("new").click()
        stub.scripts.append(script)
        page.say("Question")
        shown = page.wait_error_cards()
        check(f"error: {name}", len(shown) == 1 and wanted in shown[0], shown)
        if script.pieces:
            check(f"error: {name}: what came is kept", page.answer() == "Some", page.answer())
    stub.scripts.append(Script(["Recovered"]))
    page.all(".message .error button")[0].click()
    check("trying again helps", wait_until(lambda: page.answer() == "Recovered") and not page.all(".message .error"))

    held = Script(["Held"], hold=True)
    stub.scripts.append(held)
    page.say("Hold")
    wait_until(lambda: page.answer() == "Held")
    page.id("stop").click()
    check("stopping closes the connection", held.gone.wait(5))
    page.wait_written()

    stub.scripts.append(Script(status=401, message="no API key"))
    page.say("Key?")
    check("401 asks for a key", wait_until(lambda: page.id("key-dialog").is_displayed()))
    page.id("cancel-key").click()

    other = Stub(server.url)
    page.open(other.url)
    other.stop()
    page.say("Anybody there?")
    shown = page.wait_error_cards()
    check("error: the server is gone", shown and "cannot be reached" in shown[0], shown)
    page.open(stub.url)
    check("no errors in the console", not (found := page.errors()), found)


def test_key(fptq, model):
    with Server(fptq, model, key="sesame-1234") as server, Page() as page:
        page.driver.get(server.url)
        check("a server with a key asks for it", wait_until(lambda: page.id("key-dialog").is_displayed()))
        page.id("key").send_keys("wrong", Keys.ENTER)
        refused = wait_until(lambda: page.id("key-dialog").is_displayed() and "not accept" in page.id("key-reason").text)
        check("a wrong key is refused", refused)
        page.id("key").send_keys("sesame-1234", Keys.ENTER)
        check("the right one is taken", page.wait_ready())
        page.id("open-settings").click()
        page.set("sampling-max_tokens", "8")
        page.close_settings()
        page.say("Hello")
        page.wait_written()
        check("and used", len(page.answer()) > 0, page.answer())
        page.driver.refresh()
        check("and kept for the tab", page.wait_ready())
        stored = page.run("return JSON.stringify(localStorage)")
        check("but not in the browser, unless asked to", "sesame" not in stored)


def test_attacks(page, stub):
    page.run("localStorage.clear(); sessionStorage.clear()")
    page.open(stub.url)
    for way in ["whole", "by character"]:
        for attack in ATTACKS:
            stub.scripts.append(Script([attack] if way == "whole" else list(attack)))
        for _ in ATTACKS:
            page.say("Say it")
            page.wait_written()
        inspect(page, f"model's text, {way}")
    page.id("new").click()
    for attack in ATTACKS[:4]:
        stub.scripts.append(Script(["ok"]))
        page.set("prompt", attack)
        page.id("send").click()
        page.wait_written()
    inspect(page, "user's text")
    page.run("localStorage.setItem('fptq.conversation.x', JSON.stringify({title: arguments[0], messages: ["
             "{role: 'assistant', content: arguments[0], error: arguments[0], finish: arguments[0], stats: {tokens: "
             "arguments[0]}}, {role: arguments[0], content: {}}, 7]})); localStorage.setItem('fptq.conversation.y', '{');"
             "localStorage.setItem('fptq.selected', 'x'); sessionStorage.clear()", "".join(ATTACKS))
    page.driver.refresh()
    page.wait_ready()
    check("a conversation from elsewhere is shown", len(page.messages()) == 1)
    inspect(page, "what the browser kept")
    page.run("localStorage.clear(); sessionStorage.clear()")
    stub.scripts.append(Script(status=500, message="".join(ATTACKS)))
    page.open(stub.url)
    page.say("Fail")
    page.wait_written()
    inspect(page, "an error's text")


def inspect(page, name):
    """Clicks all links in vain, then looks for anything that the text should not have become."""
    bad = page.run("return [...document.querySelectorAll('main :is(' + arguments[0] + ')')].filter("
                   "e => !e.closest('#composer, .editor, header')).map(e => e.outerHTML)", FORBIDDEN)
    links = page.run("return [...document.querySelectorAll('main a')].map(a => [a.getAttribute('href'), a.rel, a.target])")
    strange = [link for link in links if not link[0].startswith(("https://", "http://", "mailto:"))
               or "noopener" not in link[1] or link[2] != "_blank"]
    handlers = page.run("return [...document.querySelectorAll('main *')].filter("
                        "e => [...e.attributes].some(a => a.name.startsWith('on'))).length")
    check(f"injection: {name}: nothing but text", not bad and not handlers, bad)
    check(f"injection: {name}: safe links alone", not strange, strange)
    check(f"injection: {name}: nothing ran", page.run("return window.pwned === undefined && !('pwned' in document)"))
    check(f"injection: {name}: nothing was even tried", not (found := page.errors()), found)


def test_markdown(page):
    for text, wanted in MARKDOWN:
        found, again, seconds = page.run(
            "const [whole, grown] = [document.createElement('div'), document.createElement('div')];"
            "const begun = performance.now(); new MarkdownView(whole).update(arguments[0]);"
            "const seconds = (performance.now() - begun) / 1000; const view = new MarkdownView(grown);"
            "const step = Math.max(1, Math.ceil(arguments[0].length / 60));"
            "for (let i = 0; i < arguments[0].length + step; i += step) view.update(arguments[0].slice(0, i));"
            "return [whole.innerHTML, grown.innerHTML, seconds]", text)
        name = json.dumps(text[:40])
        if wanted is not None:
            check(f"Markdown {name}", found == wanted, found)
        check(f"Markdown {name}: the same piece by piece, and fast", found == again and seconds < 1, f"{seconds:.3f} s")
    special = page.run(
        "const div = document.createElement('div'); const view = new MarkdownView(div);"
        "view.update(arguments[0]); return [div.querySelector('li code').textContent, div.querySelectorAll('li').length,"
        "div.querySelector('a').href, div.querySelector('a').innerHTML, div.querySelectorAll('a')[1].href,"
        "div.querySelectorAll('td')[1].innerText, div.querySelectorAll('.end').length]",
        "1. a\n   ```\n   x\n     y\n   ```\n2. b\n\n[a **b**](https://c.invalid/d_(e)) x\n\nsee https://a.invalid/b_c_d.\n\n"
        "| a | b |\n|:-:|--:|\n| 1 | x \\| y |\n\nend")
    wanted = ["x\n  y", 2, "https://c.invalid/d_(e)", "a <strong>b</strong>", "https://a.invalid/b_c_d", "x | y", 2]
    check("Markdown: code in lists, links, tables", special == wanted, special)
    kept = page.run(
        "const div = document.createElement('div'); const view = new MarkdownView(div); view.update('# A\\n\\nb');"
        "const node = div.firstChild; view.update('# A\\n\\nb c\\n\\nd'); return node === div.firstChild && div.children.length")
    check("Markdown: what is finished keeps its nodes", kept == 3, kept)
    code = page.run("const div = document.createElement('div'); new MarkdownView(div).update(arguments[0]);"
                    "return [div.querySelector('pre').textContent, [...div.querySelectorAll('pre span')].map(s => s.className)]",
                    "```python\ndef f(x):  # <b>\n    return '<i>' + 1\n```")
    check("Markdown: code is coloured, and its text stays",
          code == ["def f(x):  # <b>\n    return '<i>' + 1", ["word", "comment", "word", "string", "number"]], code)


def test_looks(url):
    background = "return getComputedStyle(document.body).backgroundColor"
    with Page() as page:
        page.open(url)
        light = page.run(background)
        page.colours("dark")
        dark = page.run(background)
        check("it follows the system's colours", light != dark, f"{light}, {dark}")
        page.id("toggle-theme").click()
        check("the button switches them", page.run(background) == light)
        page.driver.refresh()
        check("the choice survives a reload", page.run(background) == light)
        unnamed = [e.get_attribute("outerHTML") for e in page.all("button, input, textarea, select, dialog, nav, aside")
                   if not e.accessible_name and e.is_displayed()]
        page.id("open-settings").click()
        unnamed += [e.get_attribute("outerHTML") for e in page.all("dialog button, dialog input, dialog textarea, dialog select")
                    if e.is_displayed() and not e.accessible_name]
        check("every control has a name", not unnamed, unnamed)
        page.close_settings()
        contrast = page.run(CONTRAST)
        check("text has a contrast of 4.5 at least, in both colours", min(contrast) >= 4.5, [round(c, 1) for c in contrast])
    with Page(390, 844, touch=True) as page:
        stub = Stub(url)
        stub.scripts.append(Script(["| " + "wide | " * 30 + "\n|" + "---|" * 30 + "\n\n```\n" + "x" * 400 + "\n```\n\n" + "y" * 400]))
        page.open(stub.url)
        page.say("Wide?")
        page.wait_written()
        width = page.run("return [document.documentElement.scrollWidth, document.getElementById('scroller').scrollWidth, innerWidth]")
        check("nothing is wider than a phone", max(width[:2]) <= width[2], width)
        sidebar = page.id("sidebar")
        check("the list is away on a phone", not sidebar.is_displayed())
        page.id("open-sidebar").click()
        check("it opens", wait_until(lambda: sidebar.is_displayed() and sidebar.rect["x"] == 0))
        page.press(Keys.ESCAPE)
        check("it closes", wait_until(lambda: not sidebar.is_displayed()))
        sizes = [e.rect for e in page.all("header button, #send, #stop") if e.is_displayed()]
        check("buttons are large enough to touch", all(min(r["width"], r["height"]) >= 36 for r in sizes), sizes)
        stub.stop()


CONTRAST = """
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const colour = (name) => {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  context.fillStyle = getComputedStyle(probe).color;
  probe.remove();
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data];
};
const pairs = [["--text", "--page"], ["--text", "--side"], ["--text", "--bubble"], ["--dim", "--page"], ["--dim", "--side"],
  ["--accent", "--page"], ["--on-accent", "--accent"], ["--danger", "--danger-back"], ["--number", "--page"],
  ["--word", "--code"], ["--string", "--code"], ["--number", "--code"], ["--dim", "--code"], ["--dim", "--raised"]];
const out = [];
for (const theme of ["light", "dark"]) {
  document.documentElement.dataset.theme = theme;
  for (const pair of pairs) {
    const [a, b] = pair.map((name) => luminance(colour(name))).sort((x, y) => y - x);
    out.push((a + 0.05) / (b + 0.05));
  }
}
return out;
"""


def run(fptq, model, server):
    stub = Stub(server.url)
    with Page() as page:
        test_chat(page, server)
        test_conversations(page, stub)
        test_errors(page, stub, server)
        test_attacks(page, stub)
        test_markdown(page)
    test_looks(server.url)
    test_key(fptq, model)
    stub.stop()


if __name__ == "__main__":
    sys.exit("page.py is run by scripts/test_server")
