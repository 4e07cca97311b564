import { colourOf } from '../../report/map.js';
import type { MapData } from '../page-data.js';
import { MapView } from './map-view.js';

const GROUP_ENTRIES = 8;
const COUNTS = new Intl.NumberFormat('en-US');

/** Puts the map that can be zoomed in the place of its image, which is in shades of grey. */
export function showMap(map: MapData): void {
  const image = document.getElementById('map-image') as HTMLImageElement;
  void image.decode().then(() => {
    const { width, height } = map;
    const source = Object.assign(document.createElement('canvas'), { width, height });
    const context = source.getContext('2d', { willReadFrequently: true })!;
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, width, height);
    const greys = new Uint8Array(width * height);
    paint(pixels.data, greys, map);
    context.putImageData(pixels, 0, 0);
    const at = document.getElementById('map-at')!;
    const canvas = document.createElement('canvas');
    canvas.style.aspectRatio = `${width} / ${height}`;
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', image.alt);
    canvas.setAttribute('aria-describedby', 'map-at');
    image.replaceWith(canvas);
    const view = new MapView(canvas, source, (x, y) => {
      at.textContent = textOf(map, y * width + x, greys[y * width + x]!);
    });
    const tools = document.getElementById('map-tools')!;
    tools.hidden = false;
    for (const button of tools.querySelectorAll('button')) {
      button.addEventListener('click', () => {
        view.zoom(button.dataset['zoom'] as 'in' | 'out' | 'whole');
      });
    }
  });
}

/** Colours each pixel by its share of valid entries; an empty one stays clear, and the page shows through. */
function paint(pixels: Uint8ClampedArray, greys: Uint8Array, { groupsPerPixel, scale }: MapData): void {
  const most = groupsPerPixel * GROUP_ENTRIES * scale;
  const colours = Array.from({ length: 256 }, (_, grey) => colourOf(Math.min(grey / most, 1)));
  for (let pixel = 0; pixel < greys.length; pixel++) {
    const grey = pixels[pixel * 4]!;
    greys[pixel] = grey;
    const [red, green, blue] = colours[grey] as [number, number, number];
    pixels[pixel * 4] = red;
    pixels[pixel * 4 + 1] = green;
    pixels[pixel * 4 + 2] = blue;
    pixels[pixel * 4 + 3] = grey === 0 ? 0 : 255;
  }
}

function textOf({ groupsPerPixel, scale }: MapData, pixel: number, grey: number): string {
  const first = pixel * groupsPerPixel;
  const last = first + groupsPerPixel - 1;
  const groups =
    groupsPerPixel === 1
      ? `Group ${COUNTS.format(first)}`
      : `Groups ${COUNTS.format(first)} to ${COUNTS.format(last)}`;
  const entries = `entries ${COUNTS.format(first * GROUP_ENTRIES)} to ${COUNTS.format((last + 1) * GROUP_ENTRIES - 1)}`;
  const valid = Math.floor(grey / scale);
  const about = scale === 1 ? '' : 'at most ';
  return `${groups}, ${entries}: ${about}${COUNTS.format(valid)} of ${COUNTS.format(groupsPerPixel * GROUP_ENTRIES)} valid`;
}
