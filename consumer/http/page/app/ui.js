// The one place that knows how markup is made. Everything put into a template is text.
export {
  html, render, useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback,
} from "/page/vendor/htm-preact.js";
