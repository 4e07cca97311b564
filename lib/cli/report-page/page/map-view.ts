const MAX_ZOOM = 64;
const STEP = 2;
const FAR = 16;

type Key = (view: MapView, far: number) => void;

/** What keys do while the map has the focus. */
const KEYS: Readonly<Record<string, Key>> = {
  ArrowLeft: (view, far) => view.move(-far, 0),
  ArrowRight: (view, far) => view.move(far, 0),
  ArrowUp: (view, far) => view.move(0, -far),
  ArrowDown: (view, far) => view.move(0, far),
  '+': (view) => view.zoom('in'),
  '=': (view) => view.zoom('in'),
  '-': (view) => view.zoom('out'),
  '0': (view) => view.zoom('whole'),
};

/** An image on a canvas: it can be zoomed and moved, and one pixel of it is selected. */
export class MapView {
  readonly #canvas: HTMLCanvasElement;
  readonly #source: HTMLCanvasElement;
  readonly #onSelect: (x: number, y: number) => void;
  #zoom = 1;
  /** Middle of what is shown, in pixels of the image. */
  #middle: readonly [x: number, y: number];
  #selected: readonly [x: number, y: number] | undefined;

  constructor(
    canvas: HTMLCanvasElement,
    source: HTMLCanvasElement,
    onSelect: (x: number, y: number) => void,
  ) {
    this.#canvas = canvas;
    this.#source = source;
    this.#onSelect = onSelect;
    this.#middle = [source.width / 2, source.height / 2];
    canvas.addEventListener('keydown', this.#onKey);
    canvas.addEventListener('pointermove', this.#onPointer);
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener('dblclick', (event) => {
      this.#zoomAt(this.#placeOf(event), STEP);
    });
    canvas.addEventListener('wheel', this.#onWheel, { passive: false });
    new ResizeObserver(() => {
      this.#draw();
    }).observe(canvas);
  }

  zoom(how: 'in' | 'out' | 'whole'): void {
    const at = this.#selected ?? this.#middle;
    if (how === 'whole') this.#zoomAt(at, 1 / this.#zoom);
    else this.#zoomAt(at, how === 'in' ? STEP : 1 / STEP);
  }

  /** Moves the selection, and shows where it is. */
  move(right: number, down: number): void {
    const { width, height } = this.#source;
    const [x, y] = this.#selected ?? (this.#middle.map(Math.floor) as [number, number]);
    this.#select(clamp(x + right, 0, width - 1), clamp(y + down, 0, height - 1));
    const [left, top] = this.#corner();
    const [across, tall] = this.#shown();
    const [newX, newY] = this.#selected!;
    const isShown = newX >= left && newX < left + across && newY >= top && newY < top + tall;
    if (!isShown) this.#middle = [newX, newY];
    this.#draw();
  }

  readonly #onKey = (event: KeyboardEvent): void => {
    const key = KEYS[event.key];
    if (key === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    key(this, event.shiftKey ? FAR : 1);
  };

  readonly #onPointer = (event: PointerEvent): void => {
    if (event.buttons === 1) {
      const scale = this.#scale();
      const [x, y] = this.#middle;
      this.#middle = [x - event.movementX / scale, y - event.movementY / scale];
    } else {
      const [x, y] = this.#placeOf(event).map(Math.floor) as [number, number];
      this.#select(clamp(x, 0, this.#source.width - 1), clamp(y, 0, this.#source.height - 1));
    }
    this.#draw();
  };

  /** The wheel turns the page unless the map was clicked before, or Ctrl is held. */
  readonly #onWheel = (event: WheelEvent): void => {
    if (!event.ctrlKey && document.activeElement !== this.#canvas) return;
    event.preventDefault();
    this.#zoomAt(this.#placeOf(event), event.deltaY < 0 ? STEP : 1 / STEP);
  };

  #select(x: number, y: number): void {
    this.#selected = [x, y];
    this.#onSelect(x, y);
  }

  /** Zooms so that this place of the image stays where it is. */
  #zoomAt([x, y]: readonly [number, number], factor: number): void {
    const zoom = clamp(this.#zoom * factor, 1, MAX_ZOOM);
    const ratio = this.#zoom / zoom;
    const [middleX, middleY] = this.#middle;
    this.#middle = [x + (middleX - x) * ratio, y + (middleY - y) * ratio];
    this.#zoom = zoom;
    this.#draw();
  }

  #placeOf({ offsetX, offsetY }: MouseEvent): readonly [number, number] {
    const scale = this.#scale();
    const [left, top] = this.#corner();
    return [left + offsetX / scale, top + offsetY / scale];
  }

  /** Pixels of the screen for one of the image. */
  #scale(): number {
    return (this.#canvas.clientWidth / this.#source.width) * this.#zoom;
  }

  #shown(): readonly [width: number, height: number] {
    return [this.#source.width / this.#zoom, this.#source.height / this.#zoom];
  }

  #corner(): readonly [left: number, top: number] {
    const [width, height] = this.#shown();
    const [x, y] = this.#middle;
    return [
      clamp(x - width / 2, 0, this.#source.width - width),
      clamp(y - height / 2, 0, this.#source.height - height),
    ];
  }

  #draw(): void {
    const canvas = this.#canvas;
    const ratio = devicePixelRatio;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext('2d')!;
    const scale = this.#scale() * ratio;
    const [left, top] = this.#corner();
    const [across, tall] = this.#shown();
    this.#middle = [left + across / 2, top + tall / 2];
    context.imageSmoothingEnabled = scale < 1;
    context.clearRect(0, 0, width, height);
    context.drawImage(this.#source, left, top, across, tall, 0, 0, width, height);
    if (this.#selected === undefined) return;
    const [x, y] = this.#selected;
    const size = Math.max(scale, 6 * ratio);
    context.strokeStyle = getComputedStyle(canvas).getPropertyValue('--mark');
    context.lineWidth = 2 * ratio;
    context.strokeRect((x + 0.5 - left) * scale - size / 2, (y + 0.5 - top) * scale - size / 2, size, size);
  }
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
