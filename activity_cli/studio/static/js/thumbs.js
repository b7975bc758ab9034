/**
 * Loads small pictures, few at a time and the newest wish first.
 *
 * A browser opens six connections to a server. Pictures that are still being made must leave some
 * of them free: for the video, for edits and for the server's events.
 */
const AT_ONCE = 2;
const wishes = [];
let running = 0;

/** Load an address into an image; an image that left the page or got another wish is skipped. */
export function loadThumb(image, address) {
  if (image.dataset.wish === address) return;
  image.dataset.wish = address;
  image.removeAttribute("src"); // not the picture of another video
  wishes.push({ image, address });
  setTimeout(next); // the image is in the page by then
}

/** Forget what an image was to show. */
export function clearThumb(image) {
  delete image.dataset.wish;
  image.removeAttribute("src");
}

function next() {
  while (running < AT_ONCE && wishes.length) {
    const { image, address } = wishes.pop();
    const wanted = image.dataset.wish === address;
    if (!wanted) continue;
    if (!image.isConnected && !image.dataset.free) { delete image.dataset.wish; continue; }
    running += 1;
    // An image of its own: one that is taken out of the page meanwhile would not tell that it is done.
    const loader = new Image();
    loader.onload = loader.onerror = () => {
      running -= 1;
      if (image.dataset.wish === address) image.src = address; // from the browser's cache
      next();
    };
    loader.src = address;
  }
}
