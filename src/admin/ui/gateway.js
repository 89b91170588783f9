// Where tools reach this gateway.
import { useLoaded } from './view.js';
import * as api from './api.js';

/** What the gateway says of itself: its version, its listeners, the address of this page. */
export const useGateway = () => useLoaded('gateway', () => api.read('/api/v1/gateway'));

const loopback = (host) => /^(127\.|\[::1\]|localhost$)/.test(host);

function split(address) {
  const at = address.lastIndexOf(':');
  return [address.slice(0, at), address.slice(at + 1)];
}

/** The origin that tools call, as far as the gateway can know it: the first listener, under the name this page is seen at. */
export function origin(gateway) {
  const tcp = (gateway?.listeners ?? []).filter((one) => !one.address.startsWith('unix:'));
  const one = tcp.find((listener) => !loopback(listener.address)) ?? tcp[0];
  if (!one) return null;
  const [bound, port] = split(one.address);
  const everywhere = bound === '0.0.0.0' || bound === '[::]';
  const host = one.hosts.find((name) => name !== '*') ?? (everywhere ? location.hostname : bound);
  const usual = (one.tls ? '443' : '80') === port;
  return `${one.tls ? 'https' : 'http'}://${host}${usual || /:\d+$/.test(host) ? '' : `:${port}`}`;
}

/** What Close sends a browser back to after an authorization. */
export function redirectUri(gateway) {
  return gateway?.public_url ? `${gateway.public_url.replace(/\/$/, '')}/oauth/callback` : 'https://localhost/oauth/callback';
}

/** The base URL of a route, as clients want it: with the version and a slash at the end. */
export const baseUrl = (from, prefix) => `${from}${prefix === '/' ? '' : prefix}/api/v1/`;
