// An event in space: drag it, or turn it with the arrow keys. All its views turn together.
for (const box of document.querySelectorAll(".scene")) {
  const scene = JSON.parse(box.querySelector("script").textContent);
  const middle = [0, 1, 2].map((axis) => {
    const along = scene.points.map((point) => point[axis]);
    return (Math.min(...along) + Math.max(...along)) / 2;
  });
  const away = scene.points.map((point) => point.map((value, axis) => value - middle[axis]));
  const reach = Math.max(1, ...away.map((point) => Math.hypot(...point)));
  const hub = (scene.hub ?? middle).map((value, axis) => value - middle[axis]);
  let [yaw, pitch] = [0.6, 0.4];

  // Across, up and towards us: z of the detector is level at first, y is up where there is a beam.
  const seen = ([x, y, z]) => {
    const [across, deep] = [x * Math.cos(yaw) - z * Math.sin(yaw), x * Math.sin(yaw) + z * Math.cos(yaw)];
    return [across, y * Math.cos(pitch) - deep * Math.sin(pitch), y * Math.sin(pitch) + deep * Math.cos(pitch)];
  };

  const draw = (canvas, view) => {
    const size = canvas.clientWidth, dense = window.devicePixelRatio || 1;
    canvas.width = canvas.height = size * dense;
    const pen = canvas.getContext("2d");
    pen.scale(dense, dense);
    const place = (point) => {
      const [across, up] = seen(point);
      return [size / 2 + (across / reach) * size * 0.46, size / 2 - (up / reach) * size * 0.46];
    };
    const line = (from, to, colour, width) => {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      pen.moveTo(...place(from));
      pen.lineTo(...place(to));
      pen.stroke();
    };
    const end = [0, 1, 2].map((axis) => (axis === scene.axis ? reach : 0));
    line(end.map((value) => -value), end, "#999999", 1); // the beam, or the vertical of a telescope
    const order = away.map((point, n) => [seen(point)[2], n]).sort((a, b) => a[0] - b[0]);
    for (const [depth, n] of order) {
      const [x, y] = place(away[n]);
      pen.fillStyle = scene.palette[view.colours[n]];
      pen.beginPath();
      pen.arc(x, y, 1.7 + 0.8 * (depth / reach), 0, 2 * Math.PI);
      pen.fill();
    }
    for (const arrow of scene.arrows) {
      const along = (length) => arrow.direction.map((value, axis) => hub[axis] + value * length);
      const tip = along(reach * 0.9);
      line(along(-reach * 0.9), tip, arrow.colour, 2);
      const [x, y] = place(tip);
      pen.fillStyle = arrow.colour;
      pen.beginPath();
      pen.arc(x, y, 4, 0, 2 * Math.PI);
      pen.fill();
    }
  };

  const drawn = scene.views.map((view) => {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${view.title}: points in space, turned with the arrow keys`);
    const words = document.createElement("figcaption");
    words.textContent = [view.title, ...scene.arrows.map((arrow) => arrow.title)].join(" · ");
    figure.append(canvas, words);
    box.append(figure);
    return [canvas, view];
  });
  const all = () => drawn.forEach(([canvas, view]) => canvas.clientWidth && draw(canvas, view));
  const turn = (across, up) => {
    yaw += across;
    pitch = Math.max(-1.57, Math.min(1.57, pitch + up));
    all();
  };
  const keys = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
  for (const [canvas] of drawn) {
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) turn(event.movementX / 120, event.movementY / 120);
    });
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in keys)) return;
      event.preventDefault();
      turn(...keys[event.key]);
    });
  }
  box.classList.add("live");
  new ResizeObserver(all).observe(box); // an unfolded one has a size, and is drawn then
}
