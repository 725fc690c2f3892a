// The page of an exported model: unpacks it, takes images, shows answers.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (selector) => document.querySelector(selector);
  const MOST = 100_000_000; // pixels
  const SHOWN = 5; // classes

  async function unpacked(id) {
    const element = document.getElementById(id);
    const bytes = Uint8Array.from(atob(element.textContent), (character) => character.charCodeAt(0));
    element.remove();
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const session = (async () => {
    const address = URL.createObjectURL(new Blob([await unpacked("engine")], { type: "text/javascript" }));
    const engine = await import(address);
    URL.revokeObjectURL(address);
    // Several threads need headers that static hosts do not send.
    engine.env.wasm.numThreads = 1;
    engine.env.wasm.wasmBinary = (await unpacked("binary")).buffer;
    const model = await engine.InferenceSession.create(await unpacked("model"), { executionProviders: ["wasm"] });
    return { engine, model };
  })();
  session.then(
    () => { $("#state").textContent = "Ready. It works without a network."; },
    (error) => problem(`The model cannot run in this browser (${error.message}); try a current one.`),
  );

  function problem(text) {
    $("#problem").textContent = text;
    $("#problem").hidden = !text;
    $("#answer").setAttribute("aria-busy", "false");
  }

  async function decoded(file) {
    const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
    const bitmap = await createImageBitmap(file, options);
    if (bitmap.width * bitmap.height > MOST) throw new Error("it has more than 100 million pixels");
    const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  async function probabilities(file) {
    const { engine, model } = await session;
    const start = new Uint8Array(await file.slice(0, 2).arrayBuffer());
    const image = await decoded(file);
    const jpeg = start[0] === 0xff && start[1] === 0xd8;
    const pixels = prepare(image.data, image.width, image.height, data.size, data.channels, jpeg);
    const tensor = new engine.Tensor("uint8", pixels, [1, ...data.size, data.channels]);
    const before = performance.now();
    const output = await model.run({ [data.names[0]]: tensor });
    return { pixels, values: [...output[data.names[1]].data], milliseconds: performance.now() - before };
  }

  let address = "";
  let latest = 0;
  async function classify(file) {
    const mine = ++latest;
    problem("");
    $("#answer").setAttribute("aria-busy", "true");
    URL.revokeObjectURL(address);
    address = URL.createObjectURL(file);
    const preview = $("#preview");
    preview.src = address;
    preview.alt = file.name || "Your image";
    preview.onload = () => preview.classList.toggle("tiny", Math.max(preview.naturalWidth, preview.naturalHeight) <= 96);
    preview.hidden = false;
    $("#invite").hidden = true;
    $("#frame").classList.add("filled");
    try {
      const found = await probabilities(file);
      if (mine === latest) show(found);
    } catch (error) {
      if (mine === latest) {
        $("#result").hidden = true;
        problem(`${file.name || "This"} cannot be read as an image (${error.message}).`);
      }
    }
  }

  const percent = (share) => (share >= 0.9995 && share < 1 ? "99.9" : (share * 100).toFixed(1)) + "\u202f%";

  function show({ pixels, values, milliseconds }) {
    const order = values.map((_, place) => place).sort((a, b) => values[b] - values[a] || a - b);
    const said = $("#said");
    said.textContent = data.classes[order[0]];
    said.append(Object.assign(document.createElement("small"), { textContent: percent(values[order[0]]) }));
    $("#answers").replaceChildren(...order.slice(0, SHOWN).map((place) => {
      const name = Object.assign(document.createElement("span"), { className: "name", textContent: data.classes[place], title: data.classes[place] });
      const bar = document.createElement("i");
      bar.style.setProperty("--v", values[place]);
      const figure = Object.assign(document.createElement("span"), { className: "figure", textContent: percent(values[place]) });
      const row = document.createElement("li");
      row.append(name, bar, figure);
      return row;
    }));
    const [height, width] = data.size;
    const rgba = new Uint8ClampedArray(width * height * 4);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) rgba[4 * i + c] = pixels[data.channels === 1 ? i : 3 * i + c];
      rgba[4 * i + 3] = 255;
    }
    $("#seen").getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
    $("#time").textContent = `Computed in ${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms.`;
    // All of them, for those who drive the page by a program.
    $("#result").dataset.probabilities = JSON.stringify(values);
    $("#empty").hidden = true;
    $("#result").hidden = false;
    $("#answer").setAttribute("aria-busy", "false");
  }

  const first = (files) => [...(files || [])].find((file) => file.type.startsWith("image/")) || (files || [])[0];
  const take = (files) => { const file = first(files); if (file) classify(file); };
  $("#choose").addEventListener("click", () => $("#file").click());
  $("#frame").addEventListener("click", () => $("#file").click());
  $("#file").addEventListener("change", (event) => { take(event.target.files); });
  addEventListener("paste", (event) => take(event.clipboardData?.files));
  addEventListener("dragover", (event) => { event.preventDefault(); $("#stage").classList.add("over-it"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("#stage").classList.remove("over-it"); });
  addEventListener("drop", (event) => { event.preventDefault(); $("#stage").classList.remove("over-it"); take(event.dataTransfer?.files); });
})();
