(function () {
  function start(root) {
    root.setAttribute("data-ready", "");
    root.classList.add("dp-ready");
    var frames = root.querySelectorAll(".dp-frame"), last = frames.length - 1;
    var slider = root.querySelector("input"), button = root.querySelector("button"), live = root.querySelector(".dp-live");
    var calm = window.matchMedia && window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    var pause = Math.max(Number(root.getAttribute("data-interval")), calm ? 1000 : 0), timer = null;
    var words = document.createElement("span");
    live.appendChild(words);
    frames.forEach(function (frame) {
      var room = document.createElement("span");  // keeps the height of the longest text, so that the page below stays put
      room.className = "dp-room";
      room.setAttribute("aria-hidden", "true");
      room.textContent = frame.querySelector(".dp-text").textContent;
      live.appendChild(room);
    });
    function show(k) {
      frames.forEach(function (frame, i) {
        frame.hidden = i !== k;
        frame.querySelector("img").hidden = i !== k;
      });
      var text = frames[k].querySelector(".dp-text");
      slider.value = k;
      slider.setAttribute("aria-valuetext", text.querySelector("b").textContent.replace(/:$/, ""));
      words.innerHTML = text.innerHTML;
    }
    function stop() {
      clearInterval(timer);
      timer = null;
      button.setAttribute("aria-pressed", "false");
      live.setAttribute("aria-live", "polite");
    }
    function play() {
      live.setAttribute("aria-live", "off");
      button.setAttribute("aria-pressed", "true");
      if (Number(slider.value) === last) show(0);
      timer = setInterval(function () {
        var next = Number(slider.value) + 1;
        if (next >= last || !root.isConnected) stop();
        if (next <= last) show(next);
      }, pause);
    }
    slider.addEventListener("input", function () { stop(); show(Number(slider.value)); });
    button.addEventListener("click", function () { if (timer === null) play(); else stop(); });
    root.addEventListener("keydown", function (event) { event.stopPropagation(); });
    root.querySelector(".dp-controls").hidden = live.hidden = false;
    show(0);
  }
  document.querySelectorAll(".diffbook-player:not([data-ready])").forEach(start);
})();
