// ---------------------------------------------------------------- listening

for (const utterance of document.querySelectorAll(".utterance")) {
  const players = [...utterance.querySelectorAll("audio")];
  for (const player of players) {
    const picture = player.closest(".clip").querySelector(".picture");
    const cursor = picture.querySelector(".cursor");
    const follow = () => {
      cursor.style.opacity = 1;
      cursor.style.left = `${(100 * player.currentTime) / player.duration}%`;
      if (!player.paused) requestAnimationFrame(follow);
    };
    player.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) {
        if (other === player || other.paused) continue;
        other.pause();
        if (players.includes(other)) player.currentTime = other.currentTime;
      }
      follow();
    });
    player.addEventListener("seeked", follow);
    picture.addEventListener("click", (event) => {
      if (!player.duration) return;
      const { left, width } = picture.getBoundingClientRect();
      player.currentTime = (player.duration * (event.clientX - left)) / width;
    });
  }
}
