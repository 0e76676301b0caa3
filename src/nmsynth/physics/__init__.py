"""From activity to image: projectors, blur, scatter, noise, reconstruction, phantoms."""
