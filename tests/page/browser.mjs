// browser.mjs -- a headless Chromium by its DevTools protocol, over a pipe: nothing but node is needed.
import {spawn} from 'node:child_process';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

export class Browser {
  static async open(executable = process.env.CHROMIUM || 'chromium', size = [1400, 900]) {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), 'tenon-page.'));
    browser.process = spawn(executable, ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
      '--force-color-profile=srgb', '--hide-scrollbars', `--user-data-dir=${browser.profile}`, `--window-size=${size.join(',')}`, '--remote-debugging-pipe'],
      {stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']});
    browser.waiting = new Map();
    browser.errors = [];
    browser.next = 1;
    let rest = '';
    browser.process.stdio[4].setEncoding('utf8').on('data', text => {
      const messages = (rest + text).split('\0');
      rest = messages.pop();
      messages.forEach(message => browser.receive(JSON.parse(message)));
    });
    const {targetId} = await browser.send('Target.createTarget', {url: 'about:blank'});
    browser.session = (await browser.send('Target.attachToTarget', {targetId, flatten: true})).sessionId;
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await browser.send(domain + '.enable');
    await browser.send('Emulation.setDeviceMetricsOverride', {width: size[0], height: size[1], deviceScaleFactor: 1, mobile: false});
    return browser;
  }

  send(method, params = {}) {
    const id = this.next++;
    this.process.stdio[3].write(JSON.stringify({id, method, params, sessionId: this.session}) + '\0');
    return new Promise((resolve, reject) => this.waiting.set(id, {resolve, reject, method}));
  }

  receive({id, result, error, method, params}) {
    if (id) {
      const waiting = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) waiting.reject(new Error(`${waiting.method}: ${error.message}`));
      else waiting.resolve(result);
    } else if (method === 'Page.loadEventFired') this.loaded?.();
    else if (method === 'Runtime.exceptionThrown') this.errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    else if (method === 'Runtime.consoleAPICalled' && params.type === 'error') this.errors.push(params.args.map(arg => arg.value ?? arg.description).join(' '));
    else if (method === 'Log.entryAdded' && params.entry.level === 'error') this.errors.push(params.entry.text);
    else if (method === 'Network.requestWillBeSent' && !/^(file|data|about):/.test(params.request.url)) this.errors.push('asks the network for ' + params.request.url);
  }

  // Loads a page and waits until it says that it is ready; returns the milliseconds.
  async load(url, ready) {
    const start = Date.now(), loaded = new Promise(resolve => this.loaded = resolve);
    await this.send('Page.navigate', {url: 'about:blank'});
    await loaded;
    const again = new Promise(resolve => this.loaded = resolve);
    await this.send('Page.navigate', {url});
    await again;
    await this.until(ready);
    return Date.now() - start;
  }

  async evaluate(expression) {
    const {result, exceptionDetails} = await this.send('Runtime.evaluate', {expression, awaitPromise: true, returnByValue: true});
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async until(expression, seconds = 60) {
    for (const end = Date.now() + 1000 * seconds; Date.now() < end;) {
      if (await this.evaluate(expression)) return;
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    throw new Error(`never became true: ${expression}; ${this.errors.join('; ')}`);
  }

  async key(key, {shift = false} = {}) {
    const text = key.length === 1 ? key : key === 'Enter' ? '\r' : undefined;
    const named = {Enter: 13, Escape: 27}[key], params = {key, text, modifiers: shift ? 8 : 0, code: named && key, windowsVirtualKeyCode: named};
    await this.send('Input.dispatchKeyEvent', {type: text ? 'keyDown' : 'rawKeyDown', ...params});
    await this.send('Input.dispatchKeyEvent', {type: 'keyUp', ...params, text: undefined});
  }

  async type(text) {
    for (const letter of text) await this.key(letter);
  }

  async click(x, y) {
    for (const type of ['mouseMoved', 'mousePressed', 'mouseReleased'])
      await this.send('Input.dispatchMouseEvent', {type, x, y, button: type === 'mouseMoved' ? 'none' : 'left', clickCount: type === 'mouseMoved' ? 0 : 1});
  }

  // As a PNG; waits until what was asked for is painted.
  async screenshot(path) {
    await this.evaluate('new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))');
    writeFileSync(path, Buffer.from((await this.send('Page.captureScreenshot', {format: 'png'})).data, 'base64'));
  }

  async close() {
    const gone = new Promise(resolve => this.process.once('exit', resolve));
    this.send('Browser.close').catch(() => {});
    await gone;
    rmSync(this.profile, {recursive: true, force: true, maxRetries: 5, retryDelay: 100});
  }
}
