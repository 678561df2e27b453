// The threshold slider and the keyboard shortcuts. Without scripts a page shows all its pictures.
'use strict';

const form = document.querySelector('.threshold');
const entries = [...document.querySelectorAll('.entry')];
const parameter = 't';      // of the URL: takes the threshold along from page to page

function number(count) {
  return count.toLocaleString('en');
}

function of(shown, all) {
  return shown === all ? number(all) : `${number(shown)} of ${number(all)}`;
}

// Hide an entry's hits below the threshold; return how many are shown and how many there are.
function filter(entry, threshold) {
  const hits = [...entry.querySelectorAll('.hits > li')];
  let shown = 0;
  for (const hit of hits) {
    hit.hidden = 'similarity' in hit.dataset && Number(hit.dataset.similarity) < threshold;
    shown += !hit.hidden;
  }
  entry.querySelector('.count').textContent = of(shown, hits.length) +
    (hits.length === 1 ? ' hit' : ' hits');
  entry.classList.toggle('empty', shown === 0);
  return [shown, hits.length];
}

function apply(slider) {
  const threshold = Number(slider.value);
  const text = threshold.toFixed((slider.step.split('.')[1] || '').length);
  let [shown, all] = [0, 0];
  for (const entry of entries) {
    const [some, total] = filter(entry, threshold);
    shown += some;
    all += total;
  }
  const step = Math.round((threshold - Number(slider.min)) / Number(slider.step));
  const counts = JSON.parse(slider.dataset.counts);     // [kind, hits at or above each step]
  const sum = (at) => counts.reduce((total, [, steps]) => total + steps[at], 0);
  const kinds = counts.map(([kind, steps]) => `${number(steps[step])} ${kind}`).join(', ');
  const marked = counts.some(([kind]) => kind !== 'not marked');
  const paged = document.querySelector('.pages') !== null;
  form.querySelector('.shown').textContent =
    (paged ? `${of(shown, all)} hits on this page; ` : '') + of(sum(step), sum(0)) +
    (paged ? ' on all pages' : ' hits') + (marked ? ` (${kinds})` : '');
  form.querySelector('output').value = text;
  slider.setAttribute('aria-valuetext', `${text}, ${of(shown, all)} hits shown`);
  keep(step === 0 ? null : text);
}

// Write the threshold into the URLs of this page and of the links to others.
function keep(value) {
  const change = (address) => {
    const url = new URL(address);
    url.searchParams.delete(parameter);
    if (value !== null) {
      url.searchParams.set(parameter, value);
    }
    return url.href;
  };
  for (const link of document.querySelectorAll('.pages a')) {
    link.href = change(link.href);
  }
  history.replaceState(null, '', change(location.href));
}

// The index of the entry to go to, counted from the focused one or from the top of the window.
function beside(by) {
  const top = form ? form.offsetHeight : 0;
  const focused = document.activeElement.closest('.entry');
  if (focused) {
    const {top: start, bottom: end} = focused.getBoundingClientRect();
    if (end > top && start < window.innerHeight) {      // otherwise the page was scrolled since
      return entries.indexOf(focused) + by;
    }
  }
  const below = entries.filter((entry) => entry.getBoundingClientRect().top < top).length;
  return by > 0 ? below : below - 1;
}

function move(by) {
  const entry = entries[Math.min(Math.max(beside(by), 0), entries.length - 1)];
  if (entry) {
    entry.focus({preventScroll: true});
    entry.scrollIntoView({block: 'start'});
  }
}

function turn(way) {
  const link = document.querySelector(`.pages a[rel=${way}]`);
  if (link) {
    location.href = link.href;
  }
}

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  n: () => turn('next'), p: () => turn('prev'),
};

document.addEventListener('keydown', (event) => {
  const typing = event.target.matches('input') && event.key.startsWith('Arrow');
  if (KEYS[event.key] && !typing && !event.ctrlKey && !event.altKey && !event.metaKey) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

document.querySelector('.keys').hidden = false;
if (form) {
  const slider = form.querySelector('input');
  const wanted = new URL(location.href).searchParams.get(parameter);
  if (wanted !== null) {
    slider.value = wanted;
  }
  form.hidden = false;
  form.addEventListener('submit', (event) => event.preventDefault());
  slider.addEventListener('input', () => apply(slider));
  window.addEventListener('pageshow', () => apply(slider));     // also on the way back from another page
  const pad = () => {
    document.documentElement.style.scrollPaddingTop = `${form.offsetHeight + 8}px`;
  };
  window.addEventListener('resize', pad);
  apply(slider);
  pad();
}
