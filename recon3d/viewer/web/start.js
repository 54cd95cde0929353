// The page itself: everything is inside it. What a first picture needs stands before this, the rest behind.
{
  const wanted = new URLSearchParams(location.search);
  Recon3DViewer.open(document.getElementById("viewer"), {
    scene: JSON.parse(document.getElementById("recon3d-scene").textContent), embed: wanted.has("embed"), theme: wanted.get("theme"), keys: document,
  });
}
