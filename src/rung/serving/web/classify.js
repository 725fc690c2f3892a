// The page of `rung serve`: sends an image to the server that it came from, and shows what that answers.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (selector) => document.querySelector(selector);
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const percent = (share) => {
    const shown = share * 100;
    return `${shown >= 99.95 && share < 1 ? "99.9" : shown.toFixed(1)}\u202f%`;
  };

  // --- one image at a time: what a newer one has overtaken is dropped ---------------------------
  let current = new AbortController();
  let shownURL = "";

  const ask = async (path, blob, name, signal) => {
    const form = new FormData();
    form.append("files", blob, name);
    const response = await fetch(path, { method: "POST", body: form, signal });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.error || `the server answered ${response.status}`);
    return answer;
  };

  const classify = async (blob, name, truth) => {
    current.abort();
    current = new AbortController();
    const { signal } = current;
    clear();
    preview(blob);
    if (blob.size > data.body_bytes) {
      fail(`The image has ${(blob.size / 2 ** 20).toFixed(0)} MB; at most ${(data.body_bytes / 2 ** 20).toFixed(0)} MB are read here.`);
      return;
    }
    $("#answer").setAttribute("aria-busy", "true");
    try {
      const [answer] = (await ask("predict?top=5", blob, name, signal)).predictions;
      show(answer, truth);
      const explained = await ask("explain", blob, name, signal);
      explain(explained, answer);
      await similar(blob, name, signal);
    } catch (error) {
      if (!signal.aborted) fail(error instanceof TypeError ? "The server cannot be reached." : capitalised(error.message) + ".");
    } finally {
      if (!signal.aborted) $("#answer").setAttribute("aria-busy", "false");
    }
  };

  const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

  const clear = () => {
    $("#problem").hidden = true;
    $("#why").hidden = $("#similar").hidden = true;
    document.querySelectorAll("#tests [aria-pressed='true']").forEach((button) => button.setAttribute("aria-pressed", "false"));
  };

  const preview = (blob) => {
    const image = $("#preview");
    URL.revokeObjectURL(shownURL);
    shownURL = URL.createObjectURL(blob);
    image.onload = () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) <= 96);
    // Formats that only the server can read: its own picture of it comes with the explanation.
    image.onerror = () => { image.hidden = true; };
    image.src = shownURL;
    image.alt = "The image that you gave";
    image.hidden = false;
    $("#invite").hidden = true;
    $("#frame").classList.add("filled");
  };

  const fail = (text) => {
    $("#empty").hidden = $("#result").hidden = true;
    $("#problem").textContent = text;
    $("#problem").hidden = false;
  };

  const show = (answer, truth) => {
    $("#empty").hidden = $("#problem").hidden = true;
    $("#said").replaceChildren(answer.label, make("small", { textContent: percent(answer.probability) }));
    const verdict = $("#truth");
    verdict.hidden = truth === undefined;
    if (truth !== undefined) {
      const right = truth === answer.label;
      verdict.textContent = right ? "Right: that is what it is." : `Wrong: it is ${truth}.`;
      verdict.className = `truth ${right ? "right" : "wrong"}`;
    }
    $("#answers").replaceChildren(...answer.top.map(({ label, probability }) => {
      const bar = make("i");
      bar.style.setProperty("--v", probability);
      return make("li", {}, make("span", { className: "name", textContent: label, title: label }), bar,
        make("span", { className: "figure", textContent: percent(probability) }));
    }));
    const rest = data.classes - answer.top.length;
    const left = Math.max(0, 1 - answer.top.reduce((sum, { probability }) => sum + probability, 0));
    $("#rest").textContent = rest > 0 ? `The other ${rest === 1 ? "class" : `${rest.toLocaleString("en")} classes`} together: ${percent(left)}.` : "";
    $("#result").hidden = false;
  };

  const explain = (answer) => {
    const { heat } = answer;
    $("#seen").src = $("#under").src = answer.seen;
    $("#heat").src = heat.picture;
    $("#heat").hidden = !heat.clear;
    $("#normalised").src = answer.normalised;
    document.querySelectorAll(".sights img").forEach((image) => image.classList.toggle("tiny", data.small));
    if ($("#preview").hidden) {
      $("#preview").src = answer.seen;
      $("#preview").hidden = false;
    }
    $("#looked").textContent = heat.clear
      ? `Most of all at the ${heat.place}: with that part blurred away, ${answer.label} would get ${percent(heat.probability_without)} instead of ${percent(answer.probability)}.`
      : "At nothing in particular: whichever part is blurred away, the answer stays as sure as it is.";
    $("#why").hidden = false;
  };

  const similar = async (blob, name, signal) => {
    for (;;) {
      const found = await ask("similar", blob, name, signal);
      if (found.state === "gone") return;
      $("#similar").hidden = false;
      if (found.state === "ready") {
        $("#similar-note").textContent = "The training images that are most alike to the model, with what they are.";
        $("#alike").replaceChildren(...found.images.map(({ label, picture, likeness }) => make("li", {},
          make("img", { src: picture, alt: `A training image: ${label}` }),
          make("p", {}, label, " ", make("span", { className: "soft figure", textContent: likeness.toFixed(2), title: "cosine of the features: 1 is the same" })))));
        return;
      }
      $("#alike").replaceChildren();
      $("#similar-note").textContent = found.state === "building"
        ? `The training images are being looked through, once: ${Math.round(found.done * 100)} %.`
        : "The training images are being looked for.";
      await new Promise((resolve) => { setTimeout(resolve, 700); });
      signal.throwIfAborted();
    }
  };

  // --- an image from a file, a drop, the clipboard ----------------------------------------------
  const first = (list) => [...list].find((item) => item.type.startsWith("image/")) || list[0];
  const take = (file) => { if (file) classify(file, file.name || "pasted"); };
  $("#choose").addEventListener("click", () => $("#file").click());
  for (const input of [$("#file"), $("#capture")])
    input.addEventListener("change", () => { take(input.files[0]); input.value = ""; });
  const root = document.documentElement;
  addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("over-it"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) root.classList.remove("over-it"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    root.classList.remove("over-it");
    take(first(event.dataTransfer.files));
  });
  addEventListener("paste", (event) => take(first(event.clipboardData.files)));

  // --- an image from the camera; where a page may not use it (no HTTPS), a phone's own ------------
  const dialog = $("#viewfinder");
  const video = $("#video");
  const stop = () => { if (video.srcObject) video.srcObject.getTracks().forEach((track) => track.stop()); video.srcObject = null; };
  $("#camera").addEventListener("click", async () => {
    if (!navigator.mediaDevices) {
      $("#capture").click();
      return;
    }
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      dialog.showModal();
    } catch {
      fail("No camera can be used: there is none, or the browser does not allow it.");
    }
  });
  $("#shoot").addEventListener("click", () => {
    const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => take(blob), "image/png");
    dialog.close();
  });
  $("#close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", stop);

  // --- test images ------------------------------------------------------------------------------
  const note = $("#tries-note");
  const examples = async (seed) => {
    for (;;) {
      const found = await (await fetch(`examples?count=12&seed=${seed}`)).json();
      if (found.state === "loading") {
        await new Promise((resolve) => { setTimeout(resolve, 500); });
        continue;
      }
      if (found.state !== "ready") {
        note.textContent = "They are not at hand: the data that the model was trained on is gone or has changed. Everything else works.";
        return;
      }
      note.textContent = "It has never seen them; you see the truth afterwards.";
      $("#others").hidden = false;
      $("#tests").replaceChildren(...found.images.map(({ index, label }) => {
        const button = make("button", { type: "button" }, make("img", { src: `examples/${index}.png`, alt: "", loading: "lazy" }));
        button.setAttribute("aria-label", `Test image ${index}`);
        button.setAttribute("aria-pressed", "false");
        button.addEventListener("click", async () => {
          const blob = await (await fetch(`examples/${index}.png`)).blob();
          classify(blob, `test image ${index}.png`, label);
          // On a phone the answer is above what was touched.
          if ($("#stage").getBoundingClientRect().bottom < 0) $("#stage").scrollIntoView({ behavior: "smooth" });
          button.setAttribute("aria-pressed", "true");
        });
        return make("li", {}, button);
      }));
      return;
    }
  };
  const look = (seed) => examples(seed).catch(() => { note.textContent = "The server cannot be reached."; });
  let seed = 0;
  $("#others").addEventListener("click", () => look(++seed));
  look(seed);

  $("#curl").textContent = `curl -F files=@image.png ${new URL("predict", location.href)}`;
})();
