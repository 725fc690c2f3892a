// From an image to the pixels that the network takes, as rung's Python prepares them with Pillow: the same filters, the
// same fixed-point arithmetic, the same order, which agree to one grey level. A canvas scales with filters of its own.
"use strict";
const prepare = (() => {
  const BITS = 22; // of the fraction of a filter's weights

  const sinc = (x) => x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
  const LANCZOS = { support: 3, weight: (x) => x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0 };
  const BILINEAR = { support: 1, weight: (x) => Math.abs(x) < 1 ? 1 - Math.abs(x) : 0 };

  // Images are {data, width, height, channels}, data a Uint8Array in reading order.
  const blank = (width, height, channels) => ({ data: new Uint8Array(width * height * channels), width, height, channels });

  // For each output position: the first input position and the weights from there on.
  function weights(size, from, to, out, filter) {
    const scale = (to - from) / out;
    const stretch = Math.max(scale, 1);
    const support = filter.support * stretch;
    return Array.from({ length: out }, (_, position) => {
      const centre = from + (position + 0.5) * scale;
      const first = Math.max(Math.trunc(centre - support + 0.5), 0);
      const count = Math.min(Math.trunc(centre + support + 0.5), size) - first;
      const values = Array.from({ length: count }, (_, i) => filter.weight((i + first - centre + 0.5) / stretch));
      const total = values.reduce((sum, value) => sum + value, 0);
      const fixed = values.map((value) => {
        const exact = (total ? value / total : value) * 2 ** BITS;
        return Math.trunc(exact < 0 ? exact - 0.5 : exact + 0.5);
      });
      return { first, fixed };
    });
  }

  const clip = (sum) => Math.min(Math.max(Math.floor(sum / 2 ** BITS), 0), 255);

  function across(image, from, to, width, filter) {
    const out = blank(width, image.height, image.channels);
    const table = weights(image.width, from, to, width, filter);
    for (let y = 0, at = 0; y < image.height; y++) {
      for (const { first, fixed } of table) {
        for (let c = 0; c < image.channels; c++, at++) {
          let sum = 2 ** (BITS - 1), place = (y * image.width + first) * image.channels + c;
          for (const weight of fixed) { sum += weight * image.data[place]; place += image.channels; }
          out.data[at] = clip(sum);
        }
      }
    }
    return out;
  }

  function down(image, from, to, height, filter) {
    const out = blank(image.width, height, image.channels);
    const row = image.width * image.channels;
    weights(image.height, from, to, height, filter).forEach(({ first, fixed }, y) => {
      for (let x = 0; x < row; x++) {
        let sum = 2 ** (BITS - 1), place = first * row + x;
        for (const weight of fixed) { sum += weight * image.data[place]; place += row; }
        out.data[y * row + x] = clip(sum);
      }
    });
    return out;
  }

  // The means of blocks of acrossBy × downBy pixels of a box; blocks at the right and the lower end may be smaller.
  function reduced(image, acrossBy, downBy, box) {
    const [left, upper, right, lower] = box;
    const out = blank(Math.ceil((right - left) / acrossBy), Math.ceil((lower - upper) / downBy), image.channels);
    let at = 0;
    for (let y = upper; y < lower; y += downBy) {
      for (let x = left; x < right; x += acrossBy) {
        const endX = Math.min(x + acrossBy, right), endY = Math.min(y + downBy, lower);
        const count = (endX - x) * (endY - y);
        for (let c = 0; c < image.channels; c++, at++) {
          let sum = 0;
          for (let j = y; j < endY; j++) for (let i = x; i < endX; i++) sum += image.data[(j * image.width + i) * image.channels + c];
          out.data[at] = Math.floor(sum / count + 0.5);
        }
      }
    }
    return out;
  }

  function resized(image, width, height, box, grows) {
    const filter = grows ? BILINEAR : LANCZOS;
    let [left, upper, right, lower] = box;
    if (!grows) {
      const acrossBy = Math.trunc((right - left) / width / 3) || 1, downBy = Math.trunc((lower - upper) / height / 3) || 1;
      if (acrossBy > 1 || downBy > 1) {
        const marginX = (filter.support - 0.5) * ((right - left) / width), marginY = (filter.support - 0.5) * ((lower - upper) / height);
        const safe = [
          Math.max(0, Math.trunc(left - marginX)), Math.max(0, Math.trunc(upper - marginY)),
          Math.min(image.width, Math.ceil(right + marginX)), Math.min(image.height, Math.ceil(lower + marginY)),
        ];
        image = reduced(image, acrossBy, downBy, safe);
        [left, right] = [(left - safe[0]) / acrossBy, (right - safe[0]) / acrossBy];
        [upper, lower] = [(upper - safe[1]) / downBy, (lower - safe[1]) / downBy];
      }
    }
    // Pillow keeps the ends of the box in 32 bits.
    [left, upper, right, lower] = [left, upper, right, lower].map(Math.fround);
    const wide = left || right !== width || image.width !== width, high = upper || lower !== height || image.height !== height;
    const horizontal = (it) => wide ? across(it, left, right, width, filter) : it;
    const vertical = (it) => high ? down(it, upper, lower, height, filter) : it;
    // From version 13 on, Pillow begins with the height where that shrinks much more; how much more depends on all of the
    // sizes. Rounding in between lets the order show, in single grey levels.
    const upright = image.height / height > 1.75 * image.width / width;
    return wide && high && upright ? horizontal(vertical(image)) : vertical(horizontal(image));
  }

  // The largest central part with the shape of the new size.
  function centre(width, height, newWidth, newHeight) {
    const scale = Math.min(width / newWidth, height / newHeight);
    const wide = Math.min(newWidth * scale, width), high = Math.min(newHeight * scale, height);
    const left = (width - wide) / 2, upper = (height - high) / 2;
    return [left, upper, left + wide, upper + high];
  }

  // pixels: RGBA in reading order. jpeg: whether they come from one, which Python decodes at a fraction of its size.
  return function prepare(pixels, width, height, [newHeight, newWidth], channels, jpeg) {
    let image = blank(width, height, channels);
    for (let from = 0, to = 0; from < pixels.length; from += 4) {
      const red = pixels[from], green = pixels[from + 1], blue = pixels[from + 2];
      if (channels === 1) image.data[to++] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
      else { image.data[to++] = red; image.data[to++] = green; image.data[to++] = blue; }
    }
    if (jpeg) {
      const most = Math.trunc(Math.min(width / (2 * newWidth), height / (2 * newHeight)));
      const by = [8, 4, 2, 1].find((factor) => most >= factor) || 1;
      if (by > 1) image = reduced(image, by, by, [0, 0, width, height]);
    }
    if (image.width === newWidth && image.height === newHeight) return image.data;
    const box = centre(image.width, image.height, newWidth, newHeight);
    const grows = box[2] - box[0] <= newWidth && box[3] - box[1] <= newHeight;
    return resized(image, newWidth, newHeight, box, grows).data;
  };
})();
