// A key, once; a cookie from then on.

import { html, useEffect, useRef, useState } from "./ui.js";
import { fit } from "./format.js";
import { signIn } from "./live.js";
import { here } from "./route.js";

export function SignIn() {
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const field = useRef(null);
  useEffect(() => field.current?.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    const key = field.current.value;
    if (!key) return setError("Type the key, or paste it.");
    setBusy(true);
    try {
      await signIn(key);
      if (here().place === "signin") location.hash = "#/overview";
    } catch (failure) {
      setError(failure.message);
    }
    setBusy(false);
    return undefined;
  };
  return html`
    <div class="page narrow">
      <h1>Sign in</h1>
      <p class="note">This consumer is asked with a key. A reader's key shows everything; an operator's may also ask nodes for births, and retry or drop letters. Keys are named by <code>http.keys</code> in the configuration.</p>
      <form class="signin" onSubmit=${submit}>
        <label for="key">Key</label>
        <input id="key" ref=${field} type="password" autocomplete="current-password" spellcheck="false" aria-describedby="why" />
        <button type="submit" class="main" disabled=${busy}>Sign in</button>
        <p id="why" class="said wrong" role="alert">${fit(error, 400)}</p>
      </form>
    </div>`;
}
