// Ready-to-paste lines for the tools that people connect.

/** `[id, name, note, text]` of each, for a base URL that ends with a slash and a gateway key. */
export function snippets(base, key) {
  const bare = base.replace(/\/$/, '');
  return [
    ['curl', 'curl', 'The key is the user name; there is no password.', `curl -u ${key}: ${base}me/`],
    [
      'python',
      'Python',
      (html) => html`Close's own client: <code>pip install closeio</code>`,
      `from closeio_api import API

close = API("${base}", "${key}")
print(close.get("me"))`,
    ],
    [
      'node',
      'Node',
      'Node 18 or later, without a package.',
      `const key = "${key}";
const response = await fetch("${base}me/", {
  headers: { Authorization: "Basic " + Buffer.from(key + ":").toString("base64") },
});
console.log(await response.json());`,
    ],
    [
      'airbyte',
      'Airbyte',
      'The published Close.com source has its address built in. In the Builder, fork it and change its base; then it runs as it did.',
      `# Builder > New connector > Start from an existing one > Close.com
# Global configuration:
API Base URL: ${bare}
# Publish, then set up a source with it:
API Key: ${key}`,
    ],
    [
      'singer',
      'Singer',
      (html) => html`<code>pip install tap-closeio</code>, and run it through this file instead of <code>tap-closeio</code>.`,
      `# tap_through_gateway.py
import tap_closeio
import tap_closeio.http

tap_closeio.http.BASE_URL = "${bare}"
tap_closeio.main()

# config.json
# {"api_key": "${key}", "start_date": "2026-01-01"}
#
# python tap_through_gateway.py --config config.json --discover`,
    ],
  ];
}
