// The contrast of text with the pixels that are really behind it: axe cannot judge text on gradients.

/** Finds the runs of text in sight, with their colours and places. */
function runs() {
  const out = [];
  const inside = (rect, element) => {
    let { left, top, right, bottom } = rect;
    for (let e = element; e !== null && e !== document.body; e = e.parentElement) {
      const style = getComputedStyle(e);
      if (style.visibility === 'hidden' || style.display === 'none') return null;
      if (style.overflowX === 'visible' && style.overflowY === 'visible') continue;
      const box = e.getBoundingClientRect();
      left = Math.max(left, box.left);
      top = Math.max(top, box.top);
      right = Math.min(right, box.right);
      bottom = Math.min(bottom, box.bottom);
    }
    left = Math.max(0, Math.ceil(left));
    top = Math.max(0, Math.ceil(top));
    right = Math.min(innerWidth, Math.floor(right));
    bottom = Math.min(innerHeight, Math.floor(bottom));
    return right - left > 3 && bottom - top > 5
      ? { x: left, y: top, w: right - left, h: bottom - top }
      : null;
  };
  const rgb = (color) => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d');
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const hidden = (x, y, element) => {
    const top = document.elementFromPoint(x, y);
    return top !== null && !element.contains(top) && !top.contains(element);
  };
  /** What is in sight of a place that something else may cover from a side, or null. */
  const uncovered = (place, element) => {
    let { x, y, w, h } = place;
    if (hidden(x + w / 2, y + h / 2, element)) return null;
    for (; hidden(x + 0.5, y + h / 2, element); w--) x++;
    while (hidden(x + w - 0.5, y + h / 2, element)) w--;
    for (; hidden(x + w / 2, y + 0.5, element); h--) y++;
    while (hidden(x + w / 2, y + h - 0.5, element)) h--;
    return { x, y, w, h };
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const text = node.nodeValue.trim();
    const element = node.parentElement;
    if (text === '' || element.closest('.sr, noscript, script, dialog:not([open])') !== null) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const clipped = inside(rect, element);
      const place = clipped && uncovered(clipped, element);
      if (place === null) continue;
      out.push({ text: text.slice(0, 40), color: rgb(getComputedStyle(element).color), ...place });
    }
  }
  for (const input of document.querySelectorAll('input[placeholder]')) {
    const clipped = inside(input.getBoundingClientRect(), input);
    const place = clipped && uncovered(clipped, input);
    if (place === null || input.value !== '') continue;
    out.push({
      text: input.placeholder,
      color: rgb(getComputedStyle(input, '::placeholder').color),
      ...place,
    });
  }
  return out;
}

function hide() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    *, *::placeholder { color: transparent !important; -webkit-text-fill-color: transparent !important; }
    svg, svg * { visibility: hidden !important; }
    * { caret-color: transparent !important; animation: none !important; transition: none !important; }
  `);
  document.adoptedStyleSheets = [sheet];
}

/** Runs in an empty page, which has no content policy. */
async function measure([png, list]) {
  const bytes = Uint8Array.from(atob(png), (c) => c.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
  const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d', {
    willReadFrequently: true,
  });
  canvas.drawImage(image, 0, 0);
  const channel = (v) => (v <= 10.31475 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = (r, g, b) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  return list.map((run) => {
    const ink = luminance(...run.color);
    const { data } = canvas.getImageData(run.x, run.y, run.w, run.h);
    const ratios = [];
    for (let i = 0; i < data.length; i += 4) {
      const ground = luminance(data[i], data[i + 1], data[i + 2]);
      ratios.push((Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05));
    }
    ratios.sort((a, b) => a - b);
    return { text: run.text, at: [run.x, run.y], ratio: ratios[Math.floor(ratios.length * 0.02)] };
  });
}

/** How much of a box is drawn on, 0 to 1: what is not of the colour of its ground, that of the window's first pixel. */
export async function drawn(page, { x, y, width, height }) {
  const png = (await page.screenshot()).toString('base64');
  const empty = await page.context().newPage();
  const share = await empty.evaluate(
    async ([png, ...box]) => {
      const bytes = Uint8Array.from(atob(png), (c) => c.charCodeAt(0));
      const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
      const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
      canvas.drawImage(image, 0, 0);
      const ground = canvas.getImageData(0, 0, 1, 1).data.join();
      const { data } = canvas.getImageData(...box);
      let n = 0;
      for (let i = 0; i < data.length; i += 4) if (data.slice(i, i + 4).join() !== ground) n++;
      return n / (data.length / 4);
    },
    [png, ...[x, y, width, height].map(Math.round)],
  );
  await empty.close();
  return share;
}

/**
 * The runs of a frozen page whose contrast, but for the worst 2 % of pixels, is below `least`. An answer that was
 * on its way when the page froze may still move its text: then the picture is not of the runs, and is taken again.
 */
export async function faint(page, least = 4.5) {
  const places = (list) => JSON.stringify(list.map((run) => ({ ...run, color: null })));
  for (let attempt = 1; ; attempt++) {
    const list = await page.evaluate(runs);
    await page.evaluate(hide);
    const png = (await page.screenshot()).toString('base64');
    const still = places(await page.evaluate(runs)) === places(list);
    if (!still && attempt < 10) {
      await page.evaluate(() => (document.adoptedStyleSheets = []));
      continue;
    }
    if (!still) throw new Error('the page does not stand still');
    const empty = await page.context().newPage();
    const measured = await empty.evaluate(measure, [png, list]);
    await empty.close();
    return { count: measured.length, faint: measured.filter((run) => !(run.ratio >= least)) };
  }
}
