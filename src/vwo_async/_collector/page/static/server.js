// Asks the collector. The token comes from the address, behind the #, which a browser sends to nobody.

const KEY = "collector-token";

let token = takeToken();

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    history.replaceState(null, "", location.pathname);
    sessionStorage.setItem(KEY, given);
  }
  return given ?? sessionStorage.getItem(KEY) ?? "";
}

export function setToken(given) {
  token = given;
  sessionStorage.setItem(KEY, given);
}

// The address for what cannot send headers: streams and downloads.
export function address(path, parameters = {}) {
  const asked = new URLSearchParams(parameters);
  if (token) asked.set("token", token);
  return asked.size ? `${path}?${asked}` : path;
}

export async function ask(method, path, body) {
  const headers = token ? { "X-Collector-Token": token } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const found = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(found.error), { status: answer.status });
  return found;
}
