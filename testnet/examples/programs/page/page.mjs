// Takes references, calls what they open, and shows who signed the answers. The package `quorate` does all the checking.

import { connect } from 'quorate';
import { defaultStore } from 'quorate/store';

const find = (id) => document.getElementById(id);

/** A new element, with attributes or listeners, and what is in it. Texts are texts, whatever is in them. */
function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...content);
  return element;
}

const short = (hex) => `${hex.slice(0, 8)}…`;
const words = (error) => (error instanceof Error && error.name !== 'Error' ? `${error.name}: ${error.message}` : error?.message ?? String(error));
const hostName = (url) => new URL(url).host;

// --- What is kept in this browser: the references by the package, and here what there is, which is no secret. ---

const store = defaultStore();
const LIST = 'page/references';

async function listed() {
  return JSON.parse((await store.get(LIST)) ?? '[]');
}

async function enlist(entry) {
  await store.put(LIST, JSON.stringify([...(await listed()).filter(({ name }) => name !== entry.name), entry]));
  await showKept();
}

async function forget({ name, hosts }) {
  const quorate = session?.entry.name === name ? session.quorate : await connect(hosts, { store });
  await quorate.forget(name);
  await store.put(LIST, JSON.stringify((await listed()).filter((entry) => entry.name !== name)));
  if (quorate === session?.quorate) leaveSession();
  else quorate.close();
  await showKept();
}

async function showKept() {
  const entries = await listed();
  find('none').hidden = entries.length > 0;
  find('kept').replaceChildren(...entries.map((entry) => {
    const open = make('button', { class: 'open', onclick: () => show(entry) }, make('strong', {}, entry.name), make('span', { class: 'muted' }, `vat ${short(entry.vat)}`));
    if (session?.entry.name === entry.name) open.setAttribute('aria-current', 'true');
    const remove = make('button', { class: 'remove', 'aria-label': `Forget ${entry.name}`, title: 'Forget it in this browser', onclick: () => forget(entry) }, '✕');
    return make('li', {}, open, remove);
  }));
}

// --- One session at a time: that of the reference which is shown. ---

let session;

function leaveSession() {
  session?.quorate.close();
  session = undefined;
  find('session').hidden = true;
  find('idle').hidden = false;
  find('left').replaceChildren();
  find('answers').replaceChildren();
}

async function begin(entry) {
  leaveSession();
  const quorate = await connect(entry.hosts, { store, onHostLeft });
  session = { entry, quorate };
  find('vat').textContent = short(entry.vat);
  find('vat').title = entry.vat;
  find('host').textContent = hostName(quorate.host);
  find('session').hidden = false;
  find('idle').hidden = true;
  find('methods').replaceChildren();
  return quorate;
}

/** Calls what a kept reference opens from now on. */
async function show(entry) {
  try {
    const quorate = await begin(entry);
    const found = await quorate.recall(entry.name);
    if (!found) throw new Error(`${entry.name} is not in this browser any more: forget it, and add it again`);
    session.stub = found.stub;
    await showKept();
    offerMethods(quorate, found.stub);
    find('call').elements.method.focus();
  } catch (error) {
    find('call-error').textContent = words(error);
  }
}

/** The vat's own word on what there is to call, if it says anything. */
async function offerMethods(quorate, stub) {
  const names = await stub.__getMethodNames__().catch(() => []);
  if (session?.quorate !== quorate || !Array.isArray(names)) return;
  const own = names.filter((name) => typeof name === 'string' && !name.startsWith('__'));
  find('methods').replaceChildren(...own.map((name) => make('option', { value: name })));
}

/** A host was left: that it lied is another thing than that it is away. */
function onHostLeft(host, why, hasLied) {
  const name = hostName(host);
  const note = hasLied
    ? make('div', { class: 'lie' },
      make('strong', {}, `${name} lied`),
      make('p', {}, 'What it brought is not what the vat\'s members signed. Nothing of it was believed, and the host was left: another one carries the calls, and the vat does each of them once.'),
      make('p', { class: 'why' }, why))
    : make('div', { class: 'away' }, make('strong', {}, `${name} was left`), make('p', { class: 'why' }, why));
  find('left').prepend(note);
  while (find('left').childElementCount > 5) find('left').lastElementChild.remove();
}

// --- Adding a reference ---

async function read(form) {
  const file = form.elements.file.files[0];
  const reference = (file ? await file.text() : form.elements.reference.value).trim();
  const vat = /^vat:\/\/([0-9a-f]{64})\/[^#]+#.+$/.exec(reference)?.[1];
  if (!vat) throw new Error('that is no reference with its secret (vat://…/…#…): `vat ref new` prints one, and testnets have them in refs/');
  const hosts = form.elements.hosts.value.split(/[\s,]+/).filter(Boolean);
  return { entry: { name: form.elements.name.value.trim(), vat, hosts }, reference };
}

find('add').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.target;
  find('add-error').textContent = '';
  const button = form.querySelector('button');
  button.disabled = true;
  try {
    const { entry, reference } = await read(form);
    const quorate = await begin(entry);
    // The vat keeps the object for a secret of this page's own.
    session.stub = quorate.redeem(reference);
    await quorate.remember(entry.name, session.stub);
    const { value: hosts } = form.elements.hosts;
    form.reset();
    form.elements.hosts.value = hosts;
    await enlist(entry);
    offerMethods(quorate, session.stub);
    find('call').elements.method.focus();
  } catch (error) {
    leaveSession();
    find('add-error').textContent = words(error);
  } finally {
    button.disabled = false;
  }
});

// --- Calling ---

const isStub = (value) => typeof value === 'function';

/** A value as people read it. Objects of the vat are counted, and collected. */
function written(value, objects) {
  const plain = (part) => {
    if (isStub(part)) return `‹object ${objects.push(part)}›`;
    if (part instanceof Error) return `‹${words(part)}›`;
    if (part instanceof Uint8Array) return `‹${part.length} bytes›`;
    if (typeof part === 'bigint') return `${part}n`;
    if (Array.isArray(part)) return part.map(plain);
    if (part && typeof part === 'object') return Object.fromEntries(Object.entries(part).map(([name, field]) => [name, plain(field)]));
    return part;
  };
  const whole = plain(value);
  return isStub(value) || typeof value === 'bigint' ? whole : JSON.stringify(whole, undefined, 2) ?? String(whole);
}

find('call').addEventListener('submit', async (event) => {
  event.preventDefault();
  const { method: { value: method }, args: { value: text } } = event.target.elements;
  find('call-error').textContent = '';
  try {
    const args = JSON.parse(text || '[]');
    if (!Array.isArray(args)) throw new SyntaxError('arguments are a JSON array, such as [5]');
    await answer(method, args);
  } catch (error) {
    find('call-error').textContent = words(error);
  }
});

async function answer(method, args) {
  const { quorate, stub, entry } = session;
  const result = make('output', { class: 'result waiting' }, 'waiting for the vat…');
  const signed = make('div', { class: 'signed' });
  find('answers').prepend(make('li', {}, make('code', { class: 'asked' }, `${method}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`), result, signed));
  const call = stub[method](...args);
  // Asked before the call is awaited, for the answer that it gets.
  const proof = quorate.proof(call).then((value) => ({ value }), (error) => ({ error }));
  try {
    const objects = [];
    result.textContent = written(await call, objects);
    result.className = 'result';
    if (objects.length) signed.before(keeping(quorate, entry, objects));
  } catch (error) {
    result.textContent = `rejected: ${words(error)}`;
    result.className = 'result rejected';
  }
  const { value, error } = await proof;
  signed.append(...(value ? proven(value, entry, method) : [make('p', { class: 'muted' }, `No proof: ${error.message}`)]));
  if (session?.quorate === quorate) find('host').textContent = hostName(quorate.host);
}

/** Who signed, and the file that shows it to others. */
function proven(proof, entry, method) {
  const members = proof.members.map(({ name, key, signed }) => make('li', { class: signed ? 'has-signed' : 'has-not' },
    make('span', { 'aria-hidden': 'true' }, signed ? '✓' : '–'), ` ${name} `, make('code', { title: key }, short(key)),
    make('span', { class: 'unseen' }, signed ? ' signed' : ' is not in the proof')));
  const file = `${entry.name}-${method}-${proof.block}.proof`.replaceAll(/[^\w.-]/g, '_');
  const url = URL.createObjectURL(new Blob([proof.file], { type: 'application/octet-stream' }));
  return [
    make('strong', { class: 'seal' }, proof.text),
    make('span', { class: 'muted' }, ` ${proof.threshold} must sign`),
    make('ul', { class: 'members' }, ...members),
    make('a', { class: 'download', href: url, download: file }, 'Save the proof'),
    make('code', { class: 'command' }, `vat verify ${file} ${entry.vat}`),
  ];
}

/** Offers to keep the objects that an answer brought. */
function keeping(quorate, entry, objects) {
  const forms = objects.map((object, index) => {
    const form = make('form', { class: 'keep' },
      make('label', {}, `Keep object ${index + 1} as `, make('input', { name: 'name', required: '', maxlength: '64', autocomplete: 'off' })),
      make('button', {}, 'Keep'), make('p', { class: 'error', role: 'alert' }));
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const name = form.elements.name.value.trim();
      try {
        await quorate.remember(name, object);
        await enlist({ ...entry, name });
        form.replaceChildren(make('span', { class: 'muted' }, `Kept as ${name}.`));
      } catch (error) {
        form.querySelector('.error').textContent = words(error);
      }
    });
    return form;
  });
  return make('div', {}, ...forms);
}

const hosts = new URLSearchParams(location.search).getAll('host');
if (hosts.length) find('add').elements.hosts.value = hosts.join('\n');
await showKept();
find('adding').open = find('kept').childElementCount === 0;
