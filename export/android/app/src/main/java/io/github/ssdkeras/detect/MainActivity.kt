package io.github.ssdkeras.detect

import android.Manifest
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.ImageDecoder
import android.hardware.display.DisplayManager
import android.net.Uri
import android.os.Bundle
import android.os.SystemClock
import android.widget.Button
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.lifecycle.ProcessCameraProvider
import java.io.IOException
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import kotlin.math.ceil
import kotlin.math.max
import kotlin.math.sqrt

/** Pictures of more pixels are opened smaller: each takes 4 bytes, twice if it is transparent. */
private const val MOST_PIXELS = 50_000_000

/** Pictures with a longer side than this are shown smaller: a canvas refuses them. */
private const val LONGEST_SHOWN = 4096

/** Detects objects in the camera's images or in a picture. */
class MainActivity : ComponentActivity() {
    private lateinit var view: DetectionView
    private lateinit var status: TextView

    /** All detection happens on this thread. */
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()
    private var detector: Detector? = null
    private var analysis: ImageAnalysis? = null

    /** The activity survives a rotation, so the camera must be told of it. */
    private val rotations = object : DisplayManager.DisplayListener {
        override fun onDisplayChanged(displayId: Int) = followRotation()

        override fun onDisplayAdded(displayId: Int) = Unit

        override fun onDisplayRemoved(displayId: Int) = Unit
    }

    private val askForCamera =
        registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
            if (granted) startCamera() else status.setText(R.string.no_camera_permission)
        }
    private val choosePicture =
        registerForActivityResult(ActivityResultContracts.GetContent()) { place ->
            if (place != null) showPicture(place)
        }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_main)
        view = findViewById(R.id.view)
        status = findViewById(R.id.status)
        findViewById<Button>(R.id.camera).setOnClickListener {
            askForCamera.launch(Manifest.permission.CAMERA)
        }
        findViewById<Button>(R.id.picture).setOnClickListener { choosePicture.launch("image/*") }
        worker.execute { attempt { detector = createDetector(this) } }
    }

    override fun onStart() {
        super.onStart()
        displays().registerDisplayListener(rotations, null)
        followRotation()
    }

    override fun onStop() {
        super.onStop()
        displays().unregisterDisplayListener(rotations)
    }

    override fun onDestroy() {
        super.onDestroy()
        worker.execute { detector?.close() }
        worker.shutdown()
    }

    private fun displays() = getSystemService(DisplayManager::class.java)

    private fun followRotation() {
        val rotation = view.display?.rotation ?: return
        analysis?.targetRotation = rotation
    }

    private fun startCamera() {
        val provider = ProcessCameraProvider.getInstance(this)
        provider.addListener(
            {
                val analysis = ImageAnalysis.Builder()
                    // Frames that come while one is looked at are dropped.
                    .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
                    .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
                    .build()
                analysis.setAnalyzer(worker) { frame ->
                    frame.use { attempt { detect(upright(it)) } }
                }
                this.analysis = analysis
                followRotation()
                attempt {
                    provider.get().unbindAll()
                    provider.get()
                        .bindToLifecycle(this, CameraSelector.DEFAULT_BACK_CAMERA, analysis)
                }
            },
            mainExecutor,
        )
    }

    private fun showPicture(place: Uri) {
        val provider = ProcessCameraProvider.getInstance(this)
        provider.addListener({ provider.get().unbindAll() }, mainExecutor)
        worker.execute {
            attempt {
                val image = try {
                    openPicture(place)
                } catch (error: IOException) {
                    throw IllegalStateException(getString(R.string.unreadable_picture), error)
                }
                detect(image)
            }
        }
    }

    /** The picture as it is held: unlike BitmapFactory, ImageDecoder turns it as EXIF data say. */
    private fun openPicture(place: Uri): Bitmap {
        val source = ImageDecoder.createSource(contentResolver, place)
        val image = ImageDecoder.decodeBitmap(source) { decoder, info, _ ->
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
            val pixels = info.size.width.toDouble() * info.size.height
            decoder.setTargetSampleSize(max(1, ceil(sqrt(pixels / MOST_PIXELS)).toInt()))
        }
        if (!image.hasAlpha() && image.config == Bitmap.Config.ARGB_8888) return image
        // Transparent pixels are seen on white, as in training.
        val opaque = Bitmap.createBitmap(image.width, image.height, Bitmap.Config.ARGB_8888)
        val canvas = Canvas(opaque)
        canvas.drawColor(Color.WHITE)
        canvas.drawBitmap(image, 0f, 0f, null)
        return opaque
    }

    /** The picture as a canvas can show it. */
    private fun shown(image: Bitmap): Bitmap {
        val longest = max(image.width, image.height)
        if (longest <= LONGEST_SHOWN) return image
        val scale = LONGEST_SHOWN.toFloat() / longest
        val width = max(1, (scale * image.width).toInt())
        val height = max(1, (scale * image.height).toInt())
        return Bitmap.createScaledBitmap(image, width, height, true)
    }

    private fun detect(image: Bitmap) {
        val detector = detector ?: return
        val start = SystemClock.elapsedRealtime()
        val found = detector.detect(image)
        val text = getString(R.string.found, found.size, SystemClock.elapsedRealtime() - start)
        val shown = shown(image)
        runOnUiThread {
            view.show(shown, found, image.width, image.height)
            status.text = text
        }
    }

    /** What goes wrong is said on the screen. */
    private fun attempt(task: () -> Unit) {
        try {
            task()
        } catch (error: Exception) {
            runOnUiThread { status.text = error.message ?: error.toString() }
        } catch (error: OutOfMemoryError) {
            runOnUiThread { status.setText(R.string.no_memory) }
        }
    }
}
