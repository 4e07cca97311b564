import { escapeText } from '../../base/foreign-text.js';

/** Text that is HTML already. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = string | number | Html | readonly Html[];

/** HTML in which every value that is not HTML itself is escaped: names come from the command line, and from guests. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(
    strings.reduce((text, string, k) => text + (k === 0 ? '' : textOf(parts[k - 1]!)) + string, ''),
  );
}

/** JSON for a script to read: nothing in it can end the element. */
export function jsonScript(id: string, value: unknown): Html {
  const json = JSON.stringify(value).replaceAll('<', '\\u003c');
  return new Html(`<script type="application/json" id="${id}">${json}</script>`);
}

/** A script of our own. */
export function scriptOf(code: string): Html {
  return new Html(`<script>${code}</script>`);
}

/** Styles of our own. */
export function stylesOf(rules: string): Html {
  return new Html(`<style>${rules}</style>`);
}

/** A number for people, which has its exact value with it. */
export function number(name: string, value: number, text: string): Html {
  return html`<data id="${name}" value="${value}">${text}</data>`;
}

/** A table: the first cell of each row is its heading. */
export function htmlTable(caption: string, [heading, ...rows]: readonly (readonly string[])[]): Html {
  const head = heading!.map((cell) => html`<th scope="col">${cell}</th>`);
  const body = rows.map(
    ([first, ...cells]) =>
      html`<tr>
        <th scope="row">${first!}</th>
        ${cells.map((cell) => html`<td>${cell}</td>`)}
      </tr> `,
  );
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}">
    <table>
      <caption>
        ${caption}
      </caption>
      <thead>
        <tr>
          ${head}
        </tr>
      </thead>
      <tbody>
        ${body}
      </tbody>
    </table>
  </div>`;
}

/** The numbers of a picture, for those who do not see it: closed, and open in print. */
export function htmlNumbers(caption: string, rows: readonly (readonly string[])[]): Html {
  return html`<details>
    <summary>Numbers: ${caption}</summary>
    ${htmlTable(caption, rows)}
  </details>`;
}

function textOf(part: Part): string {
  if (part instanceof Html) return part.text;
  if (typeof part === 'object') return part.map(({ text }) => text).join('');
  return escapeText(String(part))
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
