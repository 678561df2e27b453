"""A headless Chromium for tests, spoken to over a pipe in its DevTools protocol.

    with Browser(find()) as browser:
        browser.open(path)
        browser.press('j')
        assert browser.run('document.activeElement.id') == 'entry-1'

It is that of Debian's package `chromium` or `chromium-headless-shell`, or Google's Chrome; the
environment's CHROMIUM names another.
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ('chromium', 'chromium-headless-shell', 'chromium-browser', 'google-chrome', 'chrome')
FLAGS = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
         '--hide-scrollbars', '--disable-background-networking', '--disable-component-update',
         '--remote-debugging-pipe')
# key -> its code, for keys that are no letters
KEYS = {'ArrowDown': 40, 'ArrowUp': 38, 'ArrowRight': 39, 'ArrowLeft': 37, 'Tab': 9}


def find():
    """Path of a Chromium on this machine, or None."""
    named = os.environ.get('CHROMIUM')
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser that has no window. `requests`: the URLs it has asked for."""

    def __init__(self, program, size=(1200, 900), timeout=120):
        self._timeout, self._sent, self._rest, self._session = timeout, 0, b'', None
        self.requests, self._loaded = [], False
        self._profile = tempfile.mkdtemp(prefix='browser')
        theirs, self._out = os.pipe()
        self._in, back = os.pipe()
        # the browser reads from 3 and writes to 4: neither may be in the way of the other
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs, back)]

        def connect():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)
        self._process = subprocess.Popen(
            [program, *FLAGS, f'--user-data-dir={self._profile}'], preexec_fn=connect,
            pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in (theirs, back, *ends):
            os.close(end)
        try:
            target = self.send('Target.createTarget', url='about:blank')['targetId']
            self._session = self.send('Target.attachToTarget', targetId=target,
                                      flatten=True)['sessionId']
            for domain in ('Page', 'Network', 'Runtime'):
                self.send(f'{domain}.enable')
            self.resize(*size)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self._process.terminate()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method, **params):
        """Call a method of the protocol; returns its result, RuntimeError for an error."""
        self._sent += 1
        message = {'id': self._sent, 'method': method, 'params': params}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._out, json.dumps(message).encode() + b'\0')
        return self._until(lambda answer: answer.get('id') == message['id'])

    def open(self, path, query=''):
        """Open a file, and wait until it is loaded."""
        self.follow(lambda: self.send('Page.navigate', url=path.as_uri() + query))

    def follow(self, action):
        """Do what leads to another page, and wait until that is loaded."""
        self._loaded = False
        action()
        if not self._loaded:
            self._until(lambda answer: answer.get('method') == 'Page.loadEventFired')

    def run(self, script):
        """The value of a JavaScript expression; a promise is waited for."""
        done = self.send('Runtime.evaluate', expression=script, returnByValue=True,
                         awaitPromise=True)
        if 'exceptionDetails' in done:
            raise RuntimeError(json.dumps(done['exceptionDetails']))
        return done['result'].get('value')

    def press(self, key, modifiers=0):
        """Press a key and let it go. modifiers: 1 alt, 2 control, 4 meta, 8 shift."""
        event = {'key': key, 'windowsVirtualKeyCode': KEYS.get(key) or ord(key.upper()),
                 'modifiers': modifiers}
        text = {} if key in KEYS or modifiers else {'text': key}
        self.send('Input.dispatchKeyEvent', type='keyDown', **event, **text)
        self.send('Input.dispatchKeyEvent', type='keyUp', **event)

    def resize(self, width, height):
        """Set the window's size in pixels."""
        self.send('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=1, mobile=False)

    def set_dark(self, dark=True):
        """Prefer dark colours, or light ones."""
        value = 'dark' if dark else 'light'
        self.send('Emulation.setEmulatedMedia',
                  features=[{'name': 'prefers-color-scheme', 'value': value}])

    def set_script(self, on):
        """Let pages run their scripts or not, from the next one on."""
        self.send('Emulation.setScriptExecutionDisabled', value=not on)

    def screenshot(self):
        """What the window shows, as PNG (base64)."""
        return self.send('Page.captureScreenshot', format='png')['data']

    def _until(self, wanted):
        """Read messages up to one that is wanted, and return its result."""
        end = time.monotonic() + self._timeout
        while True:
            while b'\0' not in self._rest:
                if not select.select([self._in], [], [], max(0, end - time.monotonic()))[0]:
                    raise TimeoutError(f'the browser did not answer in {self._timeout} s')
                data = os.read(self._in, 1 << 16)
                if not data:
                    raise RuntimeError('the browser has ended')
                self._rest += data
            text, _, self._rest = self._rest.partition(b'\0')
            message = json.loads(text)
            if message.get('method') == 'Network.requestWillBeSent':
                self.requests.append(message['params']['request']['url'])
            self._loaded |= message.get('method') == 'Page.loadEventFired'
            if wanted(message):
                if 'error' in message:
                    raise RuntimeError(message['error']['message'])
                return message.get('result', {})
