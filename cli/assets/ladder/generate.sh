#!/usr/bin/env bash
# Remakes the sample ladder that `headwater push` and `headwater demo` send: v0..v2.cmfv and a0.cmfa, 8 s that loop
# without a seam. Picture and sound are drawn here, so no third party has rights in them.
#
#   25 fps, 1 s GOP, no B-frames, 5-frame chunks (200 ms); AAC-LC 48 kHz in 9-frame chunks (192 ms).
#   8 s = 200 video frames = 375 AAC frames: the shortest whole number of seconds that is whole in both.
#   The loop's second 0 falls on a Unix time divisible by 8, so the picture tells the media time modulo 8 s.
#   On each full second the disc flashes for two frames and a tone sounds (higher on second 0).
#
# Needs Debian 12's ffmpeg (5.1) with fonts-dejavu-core and fonts-dejavu-extra. Another build gives other bytes.
# Usage: generate.sh [folder]
set -euo pipefail
out=$(realpath "${1:-$(dirname "$0")}")
fonts=${FONTS:-/usr/share/fonts/truetype/dejavu}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

quiet=(ffmpeg -nostdin -hide_banner -loglevel error -y)
bitexact=(-fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1 -threads 1)
seconds=8
cmaf=+cmaf+delay_moov+skip_trailer

# --- Sprites: one still each, at 1920x1080 scale -----------------------------------------------------------------
still() { # name size red green blue alpha
  "${quiet[@]}" -f lavfi -i "color=black:s=$2:d=0.04:r=25,format=rgba,geq=r='$3':g='$4':b='$5':a='$6'" -frames:v 1 "$1.png"
}
# Night sky with a warm horizon; far and near ridge stand still.
glow="exp(-pow((Y-650)/210,2))*exp(-pow((X-1400)/900,2))"
far="(560-70*sin(X/310+0.6)-46*sin(X/127+2.1)-18*sin(X/53)-7*sin(X/21))"
near="(655-58*sin(X/420+3.5)-30*sin(X/171+0.4)-12*sin(X/61+1)-5*sin(X/23))"
edge() { echo "clip(Y-$1+0.5,0,1)"; }
layer() { echo "lerp(lerp($1+$2*$glow,$3,$(edge "$far")),$4,$(edge "$near"))"; }
still sky 1920x1080 "$(layer "lerp(9,22,Y/700)" 150 26 17)" "$(layer "lerp(14,44,Y/700)" 92 51 37)" "$(layer "lerp(20,60,Y/700)" 46 62 46)" 255
# Water: each sheet is periodic in what it travels in 8 s, so it comes home.
water() { # name top amplitude period red green blue
  local y="(70+$3*sin(2*PI*X/$4)+$3*0.4*sin(4*PI*X/$4+1.3))" crest
  crest="exp(-pow((Y-$y-4)/5,2))"
  still "$1" 3600x480 "clip($5+70*$crest-Y*0.03,0,235)" "clip($6+80*$crest-Y*0.05,0,245)" "clip($7+76*$crest-Y*0.05,0,240)" "255*$(edge "$y")"
}
water w1 0 16 400 22 84 82
water w2 0 20 800 25 118 110
water w3 0 24 600 33 160 142
water w4 0 28 1200 50 196 172
# A paper boat.
hull="between(Y,62,92)*between(X,8+(Y-62)*0.9,112-(Y-62)*0.9)"
sail="between(Y,4,58)*between(X,60-(Y-4)*0.78,60+(Y-4)*0.62)"
still boat 120x100 "if($sail,lerp(246,224,lt(X,60)),236)" "if($sail,lerp(248,230,lt(X,60)),188)" "if($sail,lerp(246,228,lt(X,60)),92)" "255*clip($hull+$sail,0,1)"
# The dial: eight marks, a hand that goes round once per loop, a disc that flashes.
r="hypot(X-180,Y-180)"
angle="mod(atan2(Y-180,X-180)+PI/8,PI/4)-PI/8"
ring="clip(3-abs($r-168)+0.5,0,1)"
mark="between($r,138,158)*clip(4-abs($r*sin($angle))+0.5,0,1)"
still dial 360x360 231 236 237 "clip(110*$ring+220*$mark,0,255)"
still hand 360x360 242 181 61 "255*between(Y,60,180)*clip(4-abs(X-180)+0.5,0,1)"
still hub 360x360 65 211 181 "255*clip(46-$r+0.5,0,1)"
still flash 360x360 255 255 255 "clip(255*clip(128-$r+0.5,0,1),0,255)"

# --- The picture, 8 s, lossless ----------------------------------------------------------------------------------
# Sheets travel an even number of pixels a frame, so 4:2:0 never jitters.
flow() { echo "overlay=x='mod(n*$1,$2)-$2':y=$3:eval=frame"; }
text="fontcolor=0xe7eced"
beats=""
for second in 0 1 2 3 4 5 6 7; do
  beats+=",drawbox=x=$((120 + second * 62)):y=430:w=50:h=12:color=0xe7eced@0.22:t=fill"
  beats+=",drawbox=x=$((120 + second * 62)):y=430:w=50:h=12:color=0xf2b53d:t=fill:enable='eq(floor(n/25),$second)'"
done
printf 'second %%{eif:floor(n/25):d}  frame %%{eif:mod(n,25):d:2}' > clock.txt
still_input() { for name in "$@"; do printf -- '-loop 1 -framerate 25 -i %s.png ' "$name"; done; }
# shellcheck disable=SC2046
"${quiet[@]}" $(still_input sky w1 w2 w3 w4 boat dial hand hub flash) -filter_complex "
  [7:v]format=rgba,rotate=a='2*PI*n/200':c=none[turning];
  [0:v][6:v]overlay=1420:120[a0];
  [a0][turning]overlay=1420:120[a1];
  [a1][8:v]overlay=1420:120[a2];
  [a2][9:v]overlay=1420:120:enable='lt(mod(n,25),2)'[a3];
  [a3][1:v]$(flow 2 400 590)[b1];
  [b1][2:v]$(flow 4 800 660)[b2];
  [b2][5:v]overlay=x='trunc(n*5.2)*2-140':y='688+7*sin(2*PI*n/100)':eval=frame[b3];
  [b3][3:v]$(flow 6 1200 750)[b4];
  [b4][4:v]$(flow 12 1200 860)[b5];
  [b5]drawtext=fontfile=$fonts/DejaVuSans-ExtraLight.ttf:text=Headwater:fontsize=176:x=112:y=130:$text,
      drawtext=fontfile=$fonts/DejaVuSans.ttf:text='live at the source':fontsize=46:x=122:y=330:fontcolor=0x41d3b5
      $beats,
      drawtext=fontfile=$fonts/DejaVuSansMono.ttf:textfile=clock.txt:fontsize=44:x=122:y=472:$text,
      format=yuv420p" -t $seconds -r 25 -c:v libx264 -preset ultrafast -qp 0 "${bitexact[@]}" picture.mp4

# --- Renditions --------------------------------------------------------------------------------------------------
rendition() { # name width height rate level
  local label="drawtext=fontfile=$fonts/DejaVuSans-Bold.ttf:text='$2×$3':fontsize=h/18:x=w-tw-h/18:y=h-th-h/18:fontcolor=0x0c1012"
  local coding=(-c:v libx264 -preset veryslow -profile:v high -level "$5" -pix_fmt yuv420p -b:v "$4k" -maxrate "$(($4 * 5 / 4))k" -bufsize "$4k"
    -x264-params "keyint=25:min-keyint=25:scenecut=0:open-gop=0:bframes=0:ref=3:threads=1:lookahead_threads=1" -colorspace bt709 -color_primaries bt709 -color_trc bt709)
  local filter="scale=$2:$3:flags=lanczos:out_color_matrix=bt709,$label"
  "${quiet[@]}" -i picture.mp4 -vf "$filter" "${bitexact[@]}" "${coding[@]}" -pass 1 -passlogfile "$1" -f null -
  "${quiet[@]}" -i picture.mp4 -vf "$filter" "${bitexact[@]}" "${coding[@]}" -pass 2 -passlogfile "$1" -bsf:v filter_units=remove_types=6 \
    -frag_duration 200000 -movflags $cmaf+frag_keyframe -f mp4 "$out/$1.cmfv"
}
rendition v0 320 180 120 1.3
rendition v1 640 360 300 3.0
rendition v2 960 540 500 3.1

# --- Sound: a quiet chord that breathes, and the tone ------------------------------------------------------------
# Every frequency is whole in 1/8 Hz, so the chord comes home. Three rounds are coded and the second is kept: its first
# frame then follows what its last frame leaves behind, and the encoder's priming frame is gone.
chord="0.035*(0.6+0.4*sin(2*PI*t/8))*(sin(2*PI*110*t)+0.7*sin(2*PI*SIDE*t)+0.5*sin(2*PI*220*t)+0.3*sin(2*PI*277.25*t))"
tone="0.35*sin(2*PI*if(lt(mod(t,8),1),1320,880)*t)*lt(mod(t,1),0.08)*min(1,(0.08-mod(t,1))*100)*min(1,mod(t,1)*500)"
"${quiet[@]}" -f lavfi -i "aevalsrc='${chord/SIDE/164.75}+$tone|${chord/SIDE/165.25}+$tone':s=48000:d=24" -c:a aac -b:a 64k "${bitexact[@]}" rounds.m4a
"${quiet[@]}" -i rounds.m4a -c copy -bsf:a "noise=drop=lt(n\,376)+gte(n\,751),setts=ts=N*1024:duration=1024" "${bitexact[@]}" loop.m4a
"${quiet[@]}" -i loop.m4a -c copy "${bitexact[@]}" -frag_duration 190000 -movflags $cmaf -f mp4 "$out/a0.cmfa"

ls -l "$out"/*.cmf?
