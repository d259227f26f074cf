// Walks through what the planner did: draws another day, or the way to another backup, from the data beside the drawing.
// Everything decided here was decided by the planner; this only looks up who is there on a day and follows parents.
'use strict';
(() => {
  document.documentElement.classList.add('js');
  const DAY = 864e5, MONTHS = 12, DRAWN = 40, MON = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
  const WEEK = 'Sun Mon Tue Wed Thu Fri Sat'.split(' '), UNITS = ['KiB', 'MiB', 'GiB', 'TiB'];
  const esc = text => String(text).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
  const bytes = n => {
    if (n < 0) return 'size unknown';
    if (n < 1024) return `${n} B`;
    let tenths = Math.floor(n * 10 / 1024), unit = 0;
    for (; tenths >= 10240 && unit < 3; unit++) tenths = Math.floor(tenths / 1024);
    return `${Math.floor(tenths / 10)}.${tenths % 10} ${UNITS[unit]}`;
  };
  const plural = (n, noun) => `${n} ${noun}${n === 1 ? '' : 's'}`;
  const two = n => String(n).padStart(2, '0');

  function picture(root) {
    const data = JSON.parse(root.querySelector('.data').textContent);
    const t0 = Date.parse(data.day0 + 'T00:00:00Z'), lanes = data.lanes, count = data.days ? data.days.length : data.today + 1;
    const nodes = data.nodes.map(([day, minute, lane, parent, flags, size, local, needed, expired, gone], i) =>
      ({ i, day, minute, lane, parent, full: flags & 1, good: flags & 2, size, local, needed, expired, gone }));
    const find = selector => root.querySelector(selector), range = find('.walk input');
    const date = day => new Date(t0 + day * DAY);
    const dayText = day => { const d = date(day); return `${WEEK[d.getUTCDay()]} ${d.getUTCDate()} ${MON[d.getUTCMonth()]} ${d.getUTCFullYear()}`; };
    const moment = b => `${dayText(b.day)}, ${two(Math.floor(b.minute / 60))}:${two(b.minute % 60)}`;
    const stored = day => nodes.filter(b => b.day <= day && day < b.gone);
    const drawn = day => {
      const all = stored(day);
      let surplus = Math.min(Math.max(all.length - DRAWN, 0), all.filter(b => b.expired <= day).length);
      return all.filter(b => b.expired > day || surplus-- <= 0).slice(-2 * DRAWN);
    };
    const wayTo = b => { const way = []; for (; b; b = nodes[b.parent]) way.unshift(b); return way; };
    const sum = list => list.some(b => b.size < 0) ? -1 : list.reduce((all, b) => all + b.size, 0);
    const coarsest = list => list.reduce((a, b) => !a || b.lane < a.lane || (b.lane === a.lane && b.full > a.full) ? b : a, null);
    const byDay = new Map();
    for (const b of nodes) byDay.set(b.day, [...(byDay.get(b.day) || []), b]);
    let today = count - 1, pick = null;

    const shape = (lane, x, y, s, cls) => lane === 0
      ? `<rect class="${cls}" x="${x - s}" y="${y - s}" width="${2 * s}" height="${2 * s}" rx="3"/>`
      : lane === 1 ? `<path class="${cls}" d="M${x} ${y - s * 1.25}L${x + s * 1.25} ${y}L${x} ${y + s * 1.25}L${x - s * 1.25} ${y}Z"/>`
        : `<circle class="${cls}" cx="${x}" cy="${y}" r="${s}"/>`;
    const nodeClass = b => 'node' + (b.full ? ' full' : '') + (b.expired <= today ? ' exp' : '') + (b.needed <= today ? ' anc' : '') + (b.good ? '' : ' bad');
    const remark = b => !b.good ? 'cannot be restored' : b.expired <= today ? 'expired' : b.needed <= today ? 'for others' : today < b.local ? 'local' : '';
    const says = (b, way) => `${lanes[b.lane].name} of ${moment(b)}, ${b.full ? 'full' : 'increment'}, ${bytes(b.size)}` +
      (b.good ? `; ${plural(way.length, 'backup')} to fetch` : '') + (remark(b) ? `; ${remark(b)}` : '');

    function columns(now, way) {
      const box = find('.chain .wide'), room = box.clientWidth || 1300, n = Math.max(now.length, 1), left = 92;
      const step = Math.floor(Math.min(44, Math.max(28, (room - left - 12) / n))), width = Math.max(left + step * n + 10, 600);
      const at = new Map(now.map((b, i) => [b.i, i])), x = b => left + step * (at.get(b.i) + .5), y = b => 30 + 50 * b.lane;
      const daysY = 30 + 50 * (lanes.length - 1) + 36, barsY = daysY + 72, height = daysY + 76, largest = Math.max(1, ...now.map(b => b.size));
      let h = `<svg width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" class="picked" role="group" aria-label="${plural(now.length, 'backup')} stored on ${dayText(today)}">`;
      lanes.forEach((lane, i) => { h += `<path class="lane" d="M${left} ${30 + 50 * i}H${width}"/><text class="q" x="0" y="${34 + 50 * i}">${esc(lane.name.length > 12 ? lane.name.slice(0, 12) + '…' : lane.name)}</text>`; });
      h += `<text class="q" x="0" y="${barsY}">size</text>`;
      for (const b of now) if (at.has(b.parent)) {
        const p = nodes[b.parent], x1 = x(p), y1 = y(p), x2 = x(b), y2 = y(b), bend = y1 < y2 ? y2 - 10 : y2 + 10;
        h += `<path class="edge${way.includes(b) ? ' on' : ''}" d="M${x1} ${y1}${y1 === y2 ? '' : `V${bend}Q${x1} ${y2} ${x1 + 10} ${y2}`}H${x2}"/>`;
      }
      let month = -1;
      for (const b of now) {
        const k = way.indexOf(b), bx = x(b), by = y(b), d = date(b.day), bar = Math.max(2, Math.round(48 * Math.max(b.size, 0) / largest));
        h += `<g class="b t${b.lane}${k < 0 ? '' : ' on'}" data-i="${b.i}">`;
        if (d.getUTCMonth() !== month) { month = d.getUTCMonth(); h += `<path class="month" d="M${bx - step / 2} 4V${height}"/><text class="mon" x="${bx}" y="${daysY + 15}">${MON[month]}</text>`; }
        h += `${shape(b.lane, bx, by, 11, nodeClass(b))}<text class="ch" x="${bx}" y="${by + 4}">${k < 0 ? lanes[b.lane].letter : k + 1}</text>` +
          (today < b.local ? `<path class="loc" d="M${bx - 5} ${by - 23}h10l-5 6z"/>` : '') +
          `<text class="day" x="${bx}" y="${daysY}">${d.getUTCDate()}</text><rect class="bar" x="${bx - 8}" y="${barsY - bar}" width="16" height="${bar}"/>` +
          `<rect class="hit" x="${bx - step / 2}" y="0" width="${step}" height="${height}" role="button" tabindex="${b === way.at(-1) ? 0 : -1}" aria-pressed="${b === way.at(-1)}" aria-label="${esc(says(b, wayTo(b)))}"/></g>`;
      }
      const scrolled = box.scrollLeft, wasDrawn = box.dataset.day;
      box.innerHTML = h + '</svg>';
      box.scrollLeft = wasDrawn === String(today) ? scrolled : box.scrollWidth;
      box.dataset.day = today;
    }

    function list(now, way) {
      const rows = [...now].reverse(), at = new Map(rows.map((b, i) => [b.i, i])), x = b => 12 + 24 * b.lane, y = b => 34 * (at.get(b.i) + .5);
      let h = `<svg class="graph" width="${24 * lanes.length + 4}" height="${34 * rows.length}" aria-hidden="true">`;
      for (const b of rows) if (at.has(b.parent)) {
        const p = nodes[b.parent], x1 = x(p), y1 = y(p), x2 = x(b), y2 = y(b), bend = x1 < x2 ? x2 - 8 : x2 + 8;
        h += `<path class="edge${way.includes(b) ? ' on' : ''}" d="M${x1} ${y1}${x1 === x2 ? '' : `H${bend}Q${x2} ${y1} ${x2} ${y1 - 8}`}V${y2}"/>`;
      }
      for (const b of rows) {
        const k = way.indexOf(b);
        h += `<g class="b t${b.lane}${k < 0 ? '' : ' on'}" data-i="${b.i}">${shape(b.lane, x(b), y(b), 9, nodeClass(b))}<text class="ch" x="${x(b)}" y="${y(b) + 4}">${k < 0 ? lanes[b.lane].letter : k + 1}</text></g>`;
      }
      h += '</svg><table><caption class="sr">The backups, newest first</caption><thead class="sr"><tr><th scope="col">taken</th><th scope="col">tier</th><th scope="col">size</th><th scope="col">remark</th></tr></thead><tbody>';
      for (const b of rows) h += `<tr data-i="${b.i}"${way.includes(b) ? ' class="on"' : ''}><th scope="row"><button type="button">${dayText(b.day)}</button></th><td class="sr">${esc(lanes[b.lane].name)}${b.full ? ', full' : ''}</td><td>${bytes(b.size)}</td><td>${remark(b)}</td></tr>`;
      find('.chain .tall').innerHTML = h + '</tbody></table>';
    }

    function words(way) {
      const to = way.at(-1), box = find('.way');
      if (!to) { box.innerHTML = '<p>Nothing can be restored.</p>'; return; }
      const local = way.findLastIndex(b => today < b.local), steps = way.length - 1 - local;
      const still = local < 0 ? '' : steps === 0 ? ' While its snapshot is on the hypervisor, nothing is fetched.'
        : steps === 1 ? ' While the hypervisor holds its snapshots, only the last one is fetched.' : ` While the hypervisor holds its snapshots, only the last ${steps} are fetched.`;
      const id = b => data.ids ? ` <code>${esc(data.ids[b.i])}</code>` : '', why = b => data.why?.[b.i] ? ` <span class="quiet">${esc(data.why[b.i])}</span>` : '';
      box.innerHTML = (to.good ? `<p><b>Back to ${moment(to)}:</b> ${plural(way.length, 'backup')}, ${bytes(sum(way))} to fetch; what the VM has written since is lost.${still}</p>`
        : `<p><b>${moment(to)}:</b> it cannot be restored.</p>`) +
        `<ol>${way.map(b => `<li>${esc(lanes[b.lane].name)} of ${moment(b)}: ${b.full ? '<b>full</b>' : 'increment'}, ${bytes(b.size)}${id(b)}${why(b)}</li>`).join('')}</ol>` +
        (data.vm && to.good ? `<pre class="commands">${esc(commands(data.vm, data.ids[to.i]))}</pre>` : '');
    }
    const commands = (vm, id) => `fifo vms stop ${vm}\nfifo vms backups ${vm} restore ${id}\nfifo vms start ${vm}`;

    function cells() {
      for (const td of root.querySelectorAll('td[data-d]')) {
        const day = +td.dataset.d, all = byDay.get(day) || [], kept = coarsest(all.filter(b => today < b.gone)), gone = coarsest(all), number = date(day).getUTCDate();
        let cls = '', sign = number, meaning = '';
        if (day > today) cls = 'later';
        else if (kept) {
          cls = `k t${kept.lane}${kept.full ? ' f' : ''}${kept.expired <= today ? ' e' : ''}`;
          sign = lanes[kept.lane].letter;
          meaning = `${lanes[kept.lane].name}, ${kept.full ? 'full' : 'increment'}${kept.expired <= today ? ', expired' : ''}`;
        } else if (gone) { cls = `g t${gone.lane}`; meaning = `${lanes[gone.lane].name}, pruned since`; }
        else if (data.failed.includes(day)) { cls = 'x'; sign = '×'; meaning = 'failed'; }
        else if (data.down.includes(day)) { cls = 'o'; meaning = 'no run'; }
        if (day === today) cls += ' n';
        if (td.className !== cls || td.firstChild.textContent !== String(sign)) {
          td.className = cls;
          td.firstChild.textContent = sign;
          td.lastChild.textContent = number + (meaning && ': ' + meaning);
          if (meaning) td.title = `${dayText(day)}: ${meaning}`; else td.removeAttribute('title');
        }
      }
      const months = [...root.querySelectorAll('.year table')], at = months.findIndex(table => table.querySelector(`[data-d="${today}"]`));
      const first = months.findIndex(table => !table.classList.contains('out'));
      const from = Math.max(0, Math.min(at, Math.max(first, at - MONTHS + 1)));
      months.forEach((table, i) => table.classList.toggle('out', i < from || i >= from + MONTHS));
    }

    function curves() {
      const x = 1000 * (today + .5) / count, [, , , local, fetch] = data.days[today];
      for (const cursor of root.querySelectorAll('.cursor')) cursor.setAttribute('d', `M${x} 0V100`);
      const panels = root.querySelectorAll('.curves .ends'), most = i => Math.max(1, ...data.days.map(day => day[i]));
      const put = (panel, value, top) => { const span = panel.querySelector('span'); span.textContent = bytes(value); span.style.top = `${98 - 96 * value / top}%`; };
      const own = lanes.map((_, lane) => stored(today).filter(b => b.lane === lane).reduce((all, b) => all + Math.max(b.size, 0), 0));
      [...panels[0].querySelectorAll('span')].reverse().forEach((span, lane) => { span.textContent = `${lanes[lane].name} ${bytes(own[lane])}`; });
      put(panels[1], local, most(3));
      put(panels[2], fetch, most(4));
    }

    function chains() {
      const now = drawn(today), way = pick ? wayTo(pick) : [], left = stored(today).length - now.length;
      find('figcaption').textContent = left ? `${left} more are stored, expired or older, and not drawn.` : '';
      columns(now, way); list(now, way); words(way);
    }

    function show() {
      pick = stored(today).filter(b => b.good).at(-1) || null;
      if (range) {
        const [all, size, held, heldSize, fetch] = data.days[today], made = (byDay.get(today) || []).map(b => lanes[b.lane].name);
        range.value = today;
        range.setAttribute('aria-valuetext', dayText(today));
        const parts = [`${all} stored, ${bytes(size)}`, `${held} on the hypervisor, ${bytes(heldSize)}`, `newest: ${pick ? wayTo(pick).length : 0} to fetch, ${bytes(fetch)}`,
          made.length ? `made: ${made.join(', ')}` : data.failed.includes(today) ? 'upload failed' : data.down.includes(today) ? 'no run' : 'nothing made'];
        find('.now').innerHTML = `<b>${dayText(today)}</b>` + parts.map(part => `<span>${esc(part)}</span>`).join('');
        cells();
        curves();
      }
      chains();
    }
    const go = day => { today = Math.max(0, Math.min(count - 1, day)); show(); };
    const choose = (i, focus) => {
      if (!nodes[i] || nodes[i] === pick) return;
      pick = nodes[i];
      chains();
      if (focus) find(`.wide [data-i="${i}"] .hit`)?.focus();
    };

    root.addEventListener('input', event => { if (event.target === range) go(+range.value); });
    root.addEventListener('click', event => {
      const step = event.target.closest('[data-go]'), cell = event.target.closest('td[data-d]'), node = event.target.closest('[data-i]'), at = event.target.closest('[data-at]');
      if (step) go(today + +step.dataset.go);
      else if (cell) go(+cell.dataset.d);
      else if (at) choose(+at.dataset.at);
      else if (node) { choose(+node.dataset.i); if (node.matches('tr')) find(`tr[data-i="${node.dataset.i}"] button`)?.focus(); }
    });
    // Only where the mouse has moved: what is drawn anew below one that rests is not chosen by that.
    let at = '';
    root.addEventListener('mousemove', event => {
      const node = event.target.closest('.wide [data-i]'), here = `${event.clientX} ${event.clientY}`;
      if (node && here !== at) choose(+node.dataset.i);
      at = here;
    });
    root.addEventListener('keydown', event => {
      const node = event.target.closest?.('.wide [data-i]'), by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!node || !by) return;
      event.preventDefault();
      const now = drawn(today), next = now[now.findIndex(b => b.i === +node.dataset.i) + by];
      if (next) choose(next.i, true);
    });
    show();
    return { day: () => today, isLast: () => today === count - 1, go, redraw: chains };
  }

  const pictures = () => new Map([...document.querySelectorAll('section.policy')].filter(root => root.querySelector('.data')).map(root => [root.dataset.policy, picture(root)]));
  let shown = pictures();
  let narrow = innerWidth;
  addEventListener('resize', () => { if (innerWidth !== narrow) { narrow = innerWidth; shown.forEach(it => it.redraw()); } });

  // The editor beside the page: each change is sent to where the page came from, and the newest answer is shown.
  const editor = document.querySelector('.editor');
  if (!editor) return;
  const yaml = editor.querySelector('textarea'), lines = editor.querySelector('.lines'), found = editor.querySelector('#findings'), sim = document.querySelector('#sim');
  let asked = 0, timer = 0;
  const number = () => {
    const wrong = new Map([...found.querySelectorAll('[data-line]')].map(it => [+it.dataset.line, it.className]));
    lines.innerHTML = yaml.value.split('\n').map((_, i) => wrong.has(i + 1) ? `<b class="${wrong.get(i + 1)}">${i + 1}</b>` : i + 1).join('\n');
    lines.scrollTop = yaml.scrollTop;
  };
  async function ask() {
    const mine = ++asked, began = performance.now();
    let answer;
    try {
      const response = await fetch(`/simulate?file=${editor.dataset.file}`, { method: 'POST', headers: { 'content-type': 'application/yaml' }, body: yaml.value });
      answer = response.headers.get('content-type')?.includes('json') ? await response.json() : { findings: `<p class="error">${esc(await response.text())}</p>` };
    } catch { answer = { findings: '<p class="error">The program no longer answers: start it again.</p>' }; }
    if (mine !== asked) return;
    found.innerHTML = answer.findings;
    if (answer.page) {
      const days = new Map([...shown].map(([name, it]) => [name, it.isLast() ? null : it.day()]));
      sim.innerHTML = answer.page;
      shown = pictures();
      shown.forEach((it, name) => { if (days.get(name) != null) it.go(days.get(name)); });
      editor.querySelector('.took').textContent = `computed in ${Math.round(performance.now() - began)} ms`;
    }
    sim.classList.toggle('stale', !answer.page);
    number();
  }
  yaml.addEventListener('input', () => { number(); clearTimeout(timer); timer = setTimeout(ask, 40); });
  yaml.addEventListener('scroll', () => { lines.scrollTop = yaml.scrollTop; });
  editor.addEventListener('submit', event => event.preventDefault());
  editor.querySelector('[data-save]').addEventListener('click', event => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([yaml.value], { type: 'application/yaml' }));
    link.download = event.currentTarget.dataset.save;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  number();
})();
